import { ConfigError } from '../errors.js';
import { Random } from '../random.js';
import { noticeBos } from '../tokenizer/doubled-bos.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { encodeRow, type EncodedRow } from './encode.js';
import { countTargets } from './examples.js';
import type { DataOptions } from './options.js';
import type { RowPlan } from './plan.js';
import { renderRow, type RenderedRow } from './render.js';
import type { JsonRow } from './row.js';
import { readTokens, vocabularyProblem } from './tokens.js';

/** How the rows of one file become examples. */
export interface RowContext {
  readonly plan: RowPlan;
  readonly options: DataOptions;
  readonly tokenizer: Tokenizer | undefined;
  readonly vocabSize: number;
  /** Place of the file among all, for the draws of its rows. */
  readonly file: number;
}

/** The row is wrong, so the data set is refused; or it holds nothing to learn, and is left out. */
export type Refusal = { readonly problem: string } | { readonly empty: string };

/** Draws of one row; they depend on nothing but its place. */
export function drawOf({ options, file }: Pick<RowContext, 'options' | 'file'>, line: number): Random {
  return new Random(options.seed ?? 0, `templates/${file}/${line}`);
}

/** What can be told of a row without tokenising it. */
export function checkRowOf(
  value: JsonRow,
  line: number,
  context: RowContext,
): { readonly text: RenderedRow } | { readonly tokens: EncodedRow } | Refusal {
  const { plan, options, tokenizer, vocabSize } = context;
  if (plan.format === 'tokens') {
    const tokens = readTokens(value);
    if ('problem' in tokens) return tokens;
    const problem = vocabularyProblem(tokens, vocabSize);
    return problem === undefined ? { tokens } : { problem };
  }
  if (tokenizer === undefined)
    throw new ConfigError(`data: rows of format ${plan.format} need a tokenizer, and this model has none`);
  const outcome = renderRow(value, { plan, options, tokenizer, draw: drawOf(context, line) });
  if (!('rendered' in outcome)) return outcome;
  if (!outcome.rendered.chat) noticeBos(outcome.rendered.text, tokenizer);
  return { text: outcome.rendered };
}

/** A row as token ids, and what is to be said of it. */
export interface PreparedRow {
  readonly encoded: EncodedRow;
  readonly truncated: boolean;
  readonly omitsCalls?: true;
}

/** A row as token ids, cut at max_length. */
export function prepareRow(value: JsonRow, line: number, context: RowContext): PreparedRow | Refusal {
  const { options, tokenizer, vocabSize } = context;
  const { max_length: maxLength = Infinity, train_on: trainOn = 'completion' } = options;
  const checked = checkRowOf(value, line, context);
  if ('problem' in checked || 'empty' in checked) return checked;
  let whole: EncodedRow;
  if ('tokens' in checked) {
    whole = checked.tokens;
  } else {
    whole = encodeRow(checked.text, tokenizer as Tokenizer, { trainOn, maxLength });
    const problem = vocabularyProblem(whole, vocabSize);
    if (problem !== undefined) return { problem };
  }
  const truncated = whole.ids.length > maxLength;
  const encoded = truncated ? { ids: whole.ids.slice(0, maxLength), labels: whole.labels.slice(0, maxLength) } : whole;
  if (countTargets(encoded.labels) === 0)
    return { empty: truncated ? `nothing to learn within max_length ${maxLength}` : 'nothing to learn' };
  return { encoded, truncated, ...('text' in checked && checked.text.omitsCalls === true ? { omitsCalls: true } : {}) };
}
