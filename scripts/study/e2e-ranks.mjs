// Prepares the rank study on the E2E data set (docs/e2e-ranks.md): which rank is enough, after appendix H.2 of the LoRA
// paper.
//   npm run build && node scripts/study/e2e-ranks.mjs --model DIR --data lora_repo_valid.jsonl --test
//   lora_repo_test.jsonl -o out/e2e-ranks npx lowrank ablate out/e2e-ranks/ablation.yaml && npx lowrank report
//   out/e2e-ranks/runs-and-tables Both files have rows {"context": …, "completion": …}. A tenth of the meaning
//   representations is held out with all their references; what the base model itself writes, drawn at temperature 1,
//   is what it may forget.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { generate, openSession } from '../../dist/src/index.js';
import { localDirectory, nodeHost } from '../../dist/src/node.js';
import { Random } from '../../dist/src/random.js';

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    data: { type: 'string' },
    test: { type: 'string' },
    output: { type: 'string', short: 'o' },
    epochs: { type: 'string', default: '2' },
  },
});
for (const name of ['model', 'data', 'test', 'output'])
  if (values[name] === undefined) throw new Error(`--${name} is missing`);
const out = resolve(values.output);
await mkdir(out, { recursive: true });

const rows = (await readFile(values.data, 'utf8')).split('\n').filter((line) => line !== '');
const contextOf = (line) => JSON.parse(line).context;
const contexts = [...new Set(rows.map(contextOf))];
const order = new Random(0, 'e2e-ranks').permutation(contexts.length);
const held = new Set([...order.slice(0, Math.round(contexts.length / 10))].map((index) => contexts[index]));
await writeLines(
  'train.jsonl',
  rows.filter((line) => !held.has(contextOf(line))),
);
await writeLines(
  'validation.jsonl',
  rows.filter((line) => held.has(contextOf(line))),
);

const session = await openSession({ model: localDirectory(values.model), device: 'auto', host: nodeHost });
const written = [];
for (let seed = 0; written.length < 200; seed++) {
  const prompts = new Array(50).fill(session.tokenizer.encode(''));
  const stories = await generate(session.decoder, prompts, { maxNewTokens: 120, temperature: 1, seed });
  written.push(...stories.map(({ tokens }) => JSON.stringify({ text: session.tokenizer.decode(tokens) })));
}
await writeLines('retain.jsonl', written);
await session.dispose();

await writeFile(
  join(out, 'tasks.yaml'),
  `tasks:
  - name: e2e
    type: generate
    data: ${JSON.stringify(resolve(values.test))}
    prompt: "{{ context }} ||"
    references: completion
    group: true
    generation: { max_new_tokens: 80, stop: ["\\n"] }
    metrics: [e2e_bleu, e2e_nist, meteor, e2e_rougeL, e2e_cider]
`,
);
await writeFile(
  join(out, 'ablation.yaml'),
  `base:
  model: ${JSON.stringify(resolve(values.model))}
  adapter: { target_modules: all-linear }
  data:
    train: ./train.jsonl
    validation: ./validation.jsonl
    template: "{{ context }} ||"
    completion_field: completion
    max_length: 256
  training:
    output_dir: ./unused
    num_train_epochs: ${Number(values.epochs)}
    per_device_train_batch_size: 8
    per_device_eval_batch_size: 32
    learning_rate: 2.0e-3
    warmup_ratio: 0.05
    logging_steps: 20
grid: { r: [1, 2, 4, 8, 16, 32, 64], lora_alpha: 2r }
seeds: [1, 2, 3]
tasks: ./tasks.yaml
retain: ./retain.jsonl
output_dir: ./runs-and-tables
`,
);
console.log(`npx lowrank ablate ${join(values.output, 'ablation.yaml')}`);

function writeLines(name, lines) {
  return writeFile(join(out, name), `${lines.join('\n')}\n`);
}
