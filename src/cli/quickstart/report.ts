import { formatBytes, formatDuration } from '../format.js';
import { formatTable } from '../table.js';
import type { Measured } from './measure.js';

export interface QuickstartResult {
  readonly before: Measured;
  readonly after: Measured;
  readonly adapter: string;
  readonly adapterBytes: number;
  readonly seconds: number;
}

/** What the quickstart tells at its end, for a terminal. */
export function formatQuickstart({ before, after, adapter, adapterBytes, seconds }: QuickstartResult): string {
  const right = (title: string): { title: string; align: 'right' } => ({ title, align: 'right' });
  const row = (name: string, pick: (m: Measured) => number, digits: number): string[] => {
    const [a, b] = [pick(before), pick(after)];
    return [name, a.toFixed(digits), b.toFixed(digits), `${b >= a ? '+' : '−'}${Math.abs(b - a).toFixed(digits)}`];
  };
  const percent = (pick: (m: Measured) => number) => (m: Measured) => 100 * pick(m);
  const columns = (title: string) => [title, right('before'), right('after'), right('change')];
  const learnt = formatTable(columns('new task: summarise a dialogue'), [
    row('perplexity (lower is better)', (m) => m.perplexity, 2),
    row('ROUGE-1', percent((m) => m.rouge.rouge1), 1),
    row('ROUGE-2', percent((m) => m.rouge.rouge2), 1),
    row('ROUGE-L', percent((m) => m.rouge.rougeL), 1),
  ]);
  const kept = formatTable(columns('old tasks: did it forget?'), [
    row('sentiment of a review, % right', percent((m) => m.sentiment), 1),
    row('questions about a passage, % exact', percent((m) => m.questions), 1),
    row('stories, perplexity (lower is better)', (m) => m.storyPerplexity, 2),
  ]);
  const samples = after.samples.map(({ prompt, reference, completion }, i) =>
    [prompt, `  reference: ${reference}`, `  before:    ${oneLine(before.samples[i]?.completion ?? '')}`, `  after:     ${oneLine(completion)}`].join('\n'),
  );
  return [
    samples.join('\n\n'),
    learnt.trimEnd(),
    kept.trimEnd(),
    `The adapter is in ${adapter} (${formatBytes(adapterBytes)}; ${formatDuration(seconds)} in all). Next:`,
    [
      `  npx lowrank generate --model configs/quickstart/base --adapter ${adapter} --prompt $'Dialogue:\\nTom: Can I borrow your pen?\\nMia: Yes, here it is.\\nSummary:'`,
      `  npx lowrank inspect ${adapter}`,
      '  npx lowrank train your-config.yaml     (copy configs/quickstart.yaml and put your own model and JSONL file in)',
    ].join('\n'),
  ].join('\n\n');
}

function oneLine(text: string): string {
  return text === '' ? '(nothing)' : text.replace(/\s+/g, ' ');
}
