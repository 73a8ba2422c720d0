import { parseArgs } from 'node:util';
import { fuzz } from './fuzz.js';

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '10' }, seed: { type: 'string' }, case: { type: 'string' } },
});
const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
const only = values.case === undefined ? undefined : Number(values.case);
if (![seed, only ?? 0, Number(values.minutes)].every((value) => Number.isFinite(value) && value >= 0))
  throw new Error('--minutes, --seed and --case are numbers from 0');
process.stdout.write(`seed ${seed}\n`);
const { cases, findings } = await fuzz({
  minutes: Number(values.minutes),
  seed,
  ...(only === undefined ? {} : { only }),
  note: (text) => process.stdout.write(text),
});
process.stdout.write(`${cases} cases, ${findings.length} findings\n`);
process.exitCode = findings.length === 0 ? 0 : 1;
