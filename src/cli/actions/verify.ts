import { readAdapter } from '../../adapters/peft/files.js';
import { definitionOf, methodOf } from '../../adapters/registry.js';
import type { DeviceChoice } from '../../device/device.js';
import { ConfigError, FormatError } from '../../errors.js';
import type { Directory } from '../../io/directory.js';
import { readModelConfig } from '../../model/load.js';
import { nodeHost } from '../../node.js';
import type { TrainingRecord } from '../../record/record.js';
import { checkFinite, checkHashes, checkReplays, recordOf, type Check } from '../../record/verify.js';
import { openSession } from '../../session.js';
import { openRun, type OpenedRun } from '../../workspace/open-run.js';
import { describeDevice, tell } from '../options.js';
import { print } from '../view/terminal.js';

/** What commander gives the action. */
export interface VerifyFlags {
  readonly model?: string;
  readonly revision?: string;
  readonly device: DeviceChoice;
  readonly json?: true;
}

const MARKS: Readonly<Record<Check['outcome'], string>> = { passed: 'ok  ', failed: 'FAIL', skipped: '–   ' };

/** Prints every check with its findings. @throws FormatError when one failed. */
export async function runVerify(path: string, flags: VerifyFlags): Promise<void> {
  const run = await openRun(path, { model: flags.model, revision: flags.revision, onMessage: tell });
  const { adapter, model } = run;
  if (adapter === undefined)
    throw new ConfigError(`${path}: is a model, not an adapter: there is nothing to hold it against`);
  if (flags.model === undefined) tell(`base model: ${run.baseName}, from ${path}`);
  const checks = [await checkTensors(adapter, model), await checkFinite(adapter)];
  const sound = checks.every(({ outcome }) => outcome === 'passed');
  const record = await recordOf(adapter);
  if ('outcome' in record) checks.push(record);
  else
    checks.push(
      ...(await checkHashes(record, adapter, model, run.folder.rows.chat_template)),
      sound ? await replay(record, run, flags) : skippedReplay(),
    );
  const failed = checks.filter(({ outcome }) => outcome === 'failed');
  if (flags.json === true) print(`${JSON.stringify({ adapter: path, passed: failed.length === 0, checks })}\n`);
  else print(`${checks.map(describe).join('\n')}\n`);
  if (failed.length > 0)
    throw new FormatError(`${path}: ${failed.map(({ name }) => name).join(', ')}: not as it should be`);
}

/** Names and shapes, from the files' headers alone. */
async function checkTensors(adapter: Directory, model: Directory): Promise<Check> {
  const { config, tensors } = await readAdapter(adapter);
  const details = definitionOf(methodOf(config)).mismatches(await readModelConfig(model), config, tensors);
  if (details.length > 0) return { name: 'tensors fit the model', outcome: 'failed', details };
  return { name: 'tensors fit the model', outcome: 'passed', details: [`${tensors.size} tensors`] };
}

async function replay(
  record: TrainingRecord,
  { model, adapter, quantization }: OpenedRun,
  flags: VerifyFlags,
): Promise<Check> {
  const session = await openSession({
    ...{ model, adapter, quantization, device: flags.device, host: nodeHost },
    onDevice: (device) => {
      tell(describeDevice(device));
    },
    onNote: tell,
  });
  try {
    return await session.device.guard(checkReplays(record, session.decoder));
  } finally {
    await session.dispose();
  }
}

function skippedReplay(): Check {
  return { name: 'recorded answers', outcome: 'skipped', details: ['the adapter cannot be put on the model'] };
}

function describe({ name, outcome, details }: Check): string {
  return [
    `${MARKS[outcome]} ${name}${details.length === 1 ? `: ${details[0]}` : ''}`,
    ...(details.length > 1 ? details.map((line) => `       ${line}`) : []),
  ].join('\n');
}
