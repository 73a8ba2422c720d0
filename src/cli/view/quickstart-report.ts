import { formatBytes, formatDuration } from '../../format.js';
import { formatTable } from './table.js';
import type { Forgetting } from '../../workspace/quickstart/full-finetuning.js';
import type { Measured } from '../../workspace/quickstart/measure.js';

export interface QuickstartResult {
  readonly before: Measured;
  readonly after: Measured;
  /** What the base model forgets where all of its weights are trained on the same rows, measured beforehand. */
  readonly full: Forgetting;
  readonly adapter: string;
  readonly adapterBytes: number;
  readonly seconds: number;
}

const BASE = 'configs/quickstart/base';

/**
 * Dialogues that no row of the data has: the prompts that are suggested at the end, and what their summaries must say.
 */
export const SUGGESTED: readonly {
  readonly lines: readonly string[];
  readonly flags: readonly string[];
  readonly says: readonly string[];
}[] = [
  {
    lines: [
      'Nathan: Can I borrow your red kite?',
      'Petra: Sure, but when will I get it back?',
      'Nathan: I will bring it back on Friday.',
    ],
    flags: [],
    says: ['Nathan', 'Petra', 'red kite', 'Friday'],
  },
  {
    lines: [
      'Noah: I am hungry. What is for dinner?',
      'Lily: I can make some soup for you.',
      'Noah: When can we eat?',
      "Lily: At six o'clock.",
    ],
    flags: ['--quantize', 'nf4'],
    says: ['Noah', 'Lily', 'soup', "six o'clock"],
  },
];

/** What the quickstart prints at its end; no line is longer than 80 characters, apart from what `adapter` adds. */
export function formatQuickstart({ before, after, full, adapter, adapterBytes, seconds }: QuickstartResult): string {
  const right = (title: string): { title: string; align: 'right' } => ({ title, align: 'right' });
  const row = (name: string, pick: (m: Measured) => number): string[] => {
    const [a, b] = [100 * pick(before), 100 * pick(after)];
    return [name, a.toFixed(1), b.toFixed(1), signed(b - a)];
  };
  const { summaries, questions, sentiment, stories } = after.rows;
  const table = formatTable(
    ['in percent, on rows that no training has seen', right('before'), right('after'), right('change')],
    [
      row(`new: both names right (${summaries} summaries)`, (m) => m.names),
      row('new: weekday or hour right', (m) => m.when),
      row('new: overlap with the reference (ROUGE-L)', (m) => m.rougeL),
      row(`old: questions about a text, exact (${questions})`, (m) => m.questions),
      row(`old: sentiment of a review right (${sentiment})`, (m) => m.sentiment),
      row(`old: probability of a story's next token (${stories})`, (m) => m.stories),
    ],
  );
  const samples = after.samples.map(({ prompt, reference, completion }, i) =>
    [
      ...prompt
        .split('\n')
        .slice(1, -1)
        .map((line) => `  ${line}`),
      `reference: ${reference}`,
      `before:    ${oneLine(before.samples[i]?.completion ?? '')}`,
      `after:     ${oneLine(completion)}`,
    ]
      .flatMap((line) => wrapped(line, 80))
      .join('\n'),
  );
  return [
    `A LoRA adapter was trained on the 4-bit base (QLoRA) to summarise dialogues. The\nfirst ${samples.length} of ${summaries} that it is measured on, with names that no training has seen:`,
    samples.join('\n\n'),
    table.trimEnd(),
    [
      `Forgotten questions, points: ${forgotten(before.questions, after.questions)} by this adapter, ${forgotten(full.before, full.after)} by full fine-tuning`,
      'on the same rows (measured beforehand: configs/quickstart/full.json).',
    ].join('\n'),
    `The adapter (${formatBytes(adapterBytes)}) is in ${adapter}; ${formatDuration(seconds)} in all.\nTry it, on float weights and on 4-bit ones:`,
    ...SUGGESTED.map((prompt) => generateCommand(adapter, prompt)),
    [
      'Then try your own: other names, things and days, or another talk like those in',
      'configs/quickstart/train.jsonl. To teach a task of your own, copy',
      'configs/quickstart.yaml, set model and data.train, and run',
      '  npx lowrank train your-config.yaml',
    ].join('\n'),
  ].join('\n\n');
}

/** Points that were lost between two shares; what was won counts as nothing lost. */
function forgotten(before: number, after: number): string {
  return Math.max(0, 100 * (before - after)).toFixed(1);
}

/** A command whose prompt goes over several lines, in quotes that every POSIX shell reads. */
function generateCommand(adapter: string, { lines, flags }: (typeof SUGGESTED)[number]): string {
  return [
    `npx lowrank generate --model ${BASE} \\`,
    `  --adapter ${[adapter, ...flags].join(' ')} --prompt "Dialogue:`,
    ...lines,
    'Summary:"',
  ].join('\n');
}

/** Points with their sign, or 0.0 without. */
function signed(points: number): string {
  const digits = Math.abs(points).toFixed(1);
  return digits === '0.0' ? digits : `${points > 0 ? '+' : '−'}${digits}`;
}

/** Words over lines of at most `width` characters; the lines after the first are indented to the first one's text. */
function wrapped(line: string, width: number): string[] {
  const indent = line.startsWith(' ') ? 2 : line.length - line.slice(line.indexOf(':') + 1).trimStart().length;
  const lines: string[] = [line.slice(0, indent)];
  for (const word of line.slice(indent).trimEnd().split(' ')) {
    const last = lines.at(-1) as string;
    const joined = last.length === indent ? last + word : `${last} ${word}`;
    if (joined.length <= width || last.length === indent) lines[lines.length - 1] = joined;
    else lines.push(' '.repeat(indent) + word);
  }
  return lines;
}

function oneLine(text: string): string {
  return text === '' ? '(nothing)' : text.replace(/\s+/g, ' ');
}
