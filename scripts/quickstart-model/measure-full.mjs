/**
 * What full fine-tuning on the quickstart's rows does to what the base model could do before, for the line in which the
 * quickstart compares it with its adapter. Needs a build; writes configs/quickstart/full.json:
 *   node scripts/quickstart-model/measure-full.mjs [--lr 1e-3]
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

const { values } = parseArgs({ options: { lr: { type: 'string', default: '1e-3' } } });
const use = (/** @type {string} */ path) => import(join(resolve('dist/src'), path));
const { measure } = await use('workspace/quickstart/measure.js');
const { openSession } = await use('session.js');
const { localDirectory, nodeHost } = await use('node.js');

const output = mkdtempSync(join(tmpdir(), 'lowrank-full-'));
const settings = ['adapter={method: full}', 'quantization.load_in_4bit=false', `training.learning_rate=${values.lr}`];
const files = { validation: 'configs/quickstart/validation.jsonl', retain: 'configs/quickstart/retain.jsonl' };
try {
  execFileSync(
    process.execPath,
    [
      'dist/src/cli/main.js',
      'train',
      'configs/quickstart.yaml',
      ...[...settings, `training.output_dir=${output}`, 'device=wasm'].flatMap((set) => ['--set', set]),
    ],
    { stdio: 'inherit' },
  );
  const scores = [];
  for (const model of ['configs/quickstart/base', output]) {
    const session = await openSession({ model: localDirectory(model), device: 'wasm', host: nodeHost });
    scores.push(await measure(session, files));
    await session.dispose();
  }
  const [before, after] = scores;
  const how = `lowrank train configs/quickstart.yaml ${settings.map((set) => `--set '${set}'`).join(' ')}, both models measured in float32 as the quickstart does (scripts/quickstart-model/measure-full.mjs)`;
  /** @param {string} key */
  const pair = (key) => ({ before: before[key], after: after[key] });
  writeFileSync(
    'configs/quickstart/full.json',
    `${JSON.stringify({ how, names: pair('names'), when: pair('when'), questions: pair('questions'), sentiment: pair('sentiment'), stories: pair('stories') }, null, 2)}\n`,
  );
} finally {
  rmSync(output, { recursive: true });
}
