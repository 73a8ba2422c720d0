import { readAdapterConfig } from '../../adapters/peft/files.js';
import { adapterSettings } from '../../adapters/settings.js';
import type { RunConfig } from '../../config/schema.js';
import type { LoadedDataset } from '../../data/dataset.js';
import {
  describeFinding,
  findProblems,
  findShared,
  sampleChat,
  type Finding,
  type FindingOptions,
} from '../../data/findings.js';
import type { DataOptions } from '../../data/options.js';
import { describeLeftOut } from '../../data/problems.js';
import { reportDataset, type DatasetReport, type LengthBin, type PartReport } from '../../data/report.js';
import type { Marks } from '../../data/show.js';
import { loadSplits } from '../../data/split.js';
import { stopTokensOf } from '../../eval/prompt.js';
import { dataOptionsOf } from '../../finetune/options.js';
import { readJson, type Directory } from '../../io/directory.js';
import type { ModelConfig } from '../../model/config.js';
import { readModelConfig } from '../../model/load.js';
import { openDirectory } from '../../node.js';
import { besideAdapter, withAddedTokens } from '../../tokenizer/added-tokens.js';
import { takeBosNote } from '../../tokenizer/doubled-bos.js';
import { loadTokenizer, type Tokenizer } from '../../tokenizer/tokenizer.js';
import { openRunData } from '../../workspace/data-files.js';
import { formatCount } from '../../format.js';
import { tell } from '../options.js';
import { formatTable } from '../view/table.js';
import { GREEN_MARKS, printMarked } from '../view/terminal.js';

export interface DataReportOptions {
  readonly samples: number;
  readonly json: boolean;
}

const SPLITS = ['train', 'validation', 'test'] as const;
const BRACKETS: Marks = { open: '⟦', close: '⟧' };

/**
 * Prints what a run with this config would be trained and evaluated on. Rows are read into memory, also where the run
 * streams them.
 */
export async function runData(config: RunConfig, { samples, json }: DataReportOptions): Promise<void> {
  const base = await openDirectory(config.model, { revision: config.model_revision, weights: false, onMessage: tell });
  const { init_from: initFrom, added_tokens: added } = config.adapter;
  const adapter = initFrom === undefined ? undefined : await openDirectory(initFrom);
  const saved = adapter === undefined ? undefined : await readAdapterConfig(adapter);
  const directory =
    adapter !== undefined
      ? await besideAdapter(base, adapter)
      : added === undefined
        ? base
        : (await withAddedTokens(base, added)).directory;
  const [model, tokenizer] = [await readModelConfig(base), await loadTokenizer(directory)];
  const files = await openRunData(config, { onMessage: tell });
  try {
    const asked = dataOptionsOf(config, model, adapterSettings(config.adapter, saved), tell);
    const splits = await loadSplits({
      ...files.data,
      tokenizer,
      // Rows are looked at one by one, whatever the run will do with them.
      options: { ...asked, packing: false, streaming: false },
      // Added tokens get rows of their own in training.
      vocabSize: added === undefined ? model.vocabSize : Math.max(model.vocabSize, tokenizer?.vocabSize ?? 0),
    });
    const note = takeBosNote(tokenizer);
    if (note !== undefined) tell(note);
    const marks = !json && process.stdout.isTTY && (process.env['NO_COLOR'] ?? '') === '' ? GREEN_MARKS : BRACKETS;
    const findings = await findingOptions(directory, model, tokenizer, asked);
    const reports = SPLITS.flatMap((split) => {
      const set = splits[split];
      if (set === undefined) return [];
      const packTo = split === 'train' && asked.packing === true ? asked.max_length : undefined;
      const found = [
        ...findProblems((set as LoadedDataset).examples, findings),
        ...(split === 'train'
          ? []
          : findShared((set as LoadedDataset).examples, (splits.train as LoadedDataset).examples)),
      ];
      return [{ split, found, report: reportDataset(set as LoadedDataset, { tokenizer, samples, marks, packTo }) }];
    });
    const text = json
      ? `${JSON.stringify(Object.fromEntries(reports.map(({ split, report, found }) => [split, { ...toJson(report), findings: found }])))}\n`
      : reports.map(({ split, report, found }) => render(split, report, found)).join('\n');
    printMarked(text);
  } finally {
    await files.close();
  }
}

/**
 * What the ends of rows are compared with: where generation stops with the tokenizer and template of the run, and what
 * the model's files say.
 */
async function findingOptions(
  directory: Directory,
  model: ModelConfig,
  tokenizer: Tokenizer | undefined,
  options: DataOptions,
): Promise<FindingOptions> {
  const settings = (await readJson(directory, 'generation_config.json')) as { eos_token_id?: unknown } | undefined;
  const generation = [settings?.eos_token_id].flat().filter((id): id is number => typeof id === 'number');
  const { chat_template: template, chat_template_kwargs: variables } = options;
  const closing = template === undefined ? undefined : tokenizer?.endOfTurn(template, variables);
  return {
    tokenizer,
    stopTokens: [
      ...new Set([
        ...stopTokensOf([...model.eosTokenIds, ...generation], tokenizer),
        ...(closing === undefined ? [] : [closing]),
      ]),
    ],
    // transformers goes by generation_config.json where it is there.
    modelStopTokens: generation.length > 0 ? generation : model.eosTokenIds,
    written: sampleChat(tokenizer, options),
  };
}

function render(split: string, { parts, packed, stats }: DatasetReport, findings: readonly Finding[]): string {
  const right = (title: string): { title: string; align: 'right' } => ({ title, align: 'right' });
  const weighted = parts.some((part) => part.weight !== undefined);
  const columns = [
    split,
    'format',
    ...['rows', 'tokens', 'supervised', 'longest', 'truncated', 'dropped', ...(weighted ? ['drawn an epoch'] : [])].map(
      right,
    ),
  ];
  const row = (
    name: string,
    format: string,
    counted: PartReport['stats'],
    dropped: number,
    drawn: number,
  ): string[] => [
    ...[name, format, String(counted.rows), formatCount(counted.tokens), formatCount(counted.supervisedTokens)],
    ...[String(counted.longest), String(counted.truncated), String(dropped), ...(weighted ? [String(drawn)] : [])],
  ];
  const rows = parts.map((part) => row(part.name, part.format, part.stats, part.dropped.length, part.drawn));
  const sum = (of: (part: PartReport) => number): number => parts.reduce((total, part) => total + of(part), 0);
  if (parts.length > 1)
    rows.push(
      row(
        'together',
        '',
        stats,
        sum((part) => part.dropped.length),
        sum((part) => part.drawn),
      ),
    );
  const table = formatTable(columns, rows);
  const packing =
    packed === undefined
      ? ''
      : `packed into ${packed.rows} rows, ${(100 * packed.filled).toFixed(1)}% of them filled\n`;
  const noted = findings.map((finding) => `! ${describeFinding(finding)}\n`).join('');
  return table + packing + noted + parts.map(renderPart).join('');
}

function renderPart(part: PartReport): string {
  const reasons = describeLeftOut(part.dropped).map((line) => `  dropped ${line}`);
  const samples = part.samples.map((sample) => {
    const cut = sample.truncated ? ', truncated' : '';
    return `\n${sample.source}, row ${sample.row}: ${sample.tokens} tokens, ${sample.supervisedTokens} supervised${cut}\n${sample.text}`;
  });
  return ['', part.name, ...renderLengths(part.lengths), ...reasons, ...samples, ''].join('\n');
}

/** Bars of at most 40 characters. */
function renderLengths(bins: readonly LengthBin[]): string[] {
  const most = bins.reduce((largest, bin) => Math.max(largest, bin.rows), 1);
  const labels = bins.map(({ from, to }) => `${from}–${to}`);
  const width = labels.reduce((longest, label) => Math.max(longest, label.length), 0);
  return bins.map(
    ({ rows }, i) =>
      `  ${(labels[i] ?? '').padStart(width)} tokens  ${'█'.repeat(rows === 0 ? 0 : Math.max(1, Math.round((40 * rows) / most)))} ${rows}`,
  );
}

function toJson({ stats, packed, parts }: DatasetReport): Record<string, unknown> {
  return {
    ...countsJson(stats),
    packed: packed === undefined ? null : { rows: packed.rows, filled: packed.filled },
    datasets: parts.map((part) => ({
      name: part.name,
      format: part.format,
      ...countsJson(part.stats),
      weight: part.weight ?? null,
      drawn_per_epoch: part.drawn,
      lengths: part.lengths,
      dropped: part.dropped,
      samples: part.samples.map(({ source, row, tokens, supervisedTokens, truncated, text }) => ({
        source,
        row,
        tokens,
        supervised_tokens: supervisedTokens,
        truncated,
        text,
      })),
    })),
  };
}

function countsJson({
  rows,
  tokens,
  supervisedTokens,
  truncated,
  longest,
}: PartReport['stats']): Record<string, number> {
  return { rows, tokens, supervised_tokens: supervisedTokens, truncated, longest };
}
