import { loadDataset, loadTextRows, type TextRow } from '../../data/dataset.js';
import { completePrompts } from '../../eval/complete.js';
import { evaluateLoss } from '../../eval/loss.js';
import { meanRouge } from '../../eval/metrics/rouge.js';
import { accuracy, exactMatch, leadingLabel } from '../../eval/metrics/scores.js';
import { fileSource } from '../../io/node.js';
import type { Session } from '../../session.js';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';

/** How well a model does the new task and the ones it knew before. */
export interface Measured {
  /** On the reference summaries. */
  readonly perplexity: number;
  /** Mean F-measures over the validation rows, 0 to 1. */
  readonly rouge: Readonly<Record<'rouge1' | 'rouge2' | 'rougeL', number>>;
  readonly samples: readonly { readonly prompt: string; readonly reference: string; readonly completion: string }[];
  /** Fraction of reviews whose sentiment is told right. */
  readonly sentiment: number;
  /** Fraction of questions answered exactly. */
  readonly questions: number;
  readonly storyPerplexity: number;
}

export interface MeasureFiles {
  readonly validation: string;
  readonly retain: string;
}

const SAMPLES = 3;
const TASK_TOKENS = { summary: 40, sentiment: 4, question: 8 } as const;

/** Evaluates a session's model, with its adapter where it has one. */
export async function measure({ decoder, tokenizer, device }: Session, files: MeasureFiles): Promise<Measured> {
  if (tokenizer === undefined) throw new Error('the quickstart model has a tokenizer');
  return device.guard(
    (async () => {
      const rows = await textRows(files.validation, tokenizer);
      const completions = await completeAll(rows, TASK_TOKENS.summary);
      const rouge = meanRouge(completions, rows.map((row) => row.completion.trim()), { types: ['rouge1', 'rouge2', 'rougeL'], stemming: true });
      const retain = await textRows(files.retain, tokenizer);
      const of = (task: string): AnsweredRow[] => retain.filter((row) => row.fields['task'] === task);
      const sentiment = await completeAll(of('sentiment'), TASK_TOKENS.sentiment);
      const answers = await completeAll(of('question'), TASK_TOKENS.question);
      return {
        perplexity: await perplexity(rows),
        rouge: { rouge1: f(rouge['rouge1']), rouge2: f(rouge['rouge2']), rougeL: f(rouge['rougeL']) },
        samples: rows.slice(0, SAMPLES).map((row, i) => ({ prompt: row.prompt, reference: row.completion.trim(), completion: completions[i] as string })),
        sentiment: accuracy(sentiment.map((text) => leadingLabel(text, ['positive', 'negative'])), of('sentiment').map((row) => row.completion.trim())),
        questions: answers.filter((text, i) => exactMatch(text, (of('question')[i] as AnsweredRow).completion)).length / answers.length,
        storyPerplexity: await perplexity(of('story')),
      };
    })(),
  );

  function completeAll(rows: readonly AnsweredRow[], maxNewTokens: number): Promise<string[]> {
    return completePrompts(decoder, tokenizer as Tokenizer, rows.map((row) => row.prompt), { maxNewTokens, batchSize: 20, stopStrings: ['\n'] });
  }

  async function perplexity(rows: readonly AnsweredRow[]): Promise<number> {
    const source = { name: 'rows', rows: rows.map(({ prompt, completion }) => ({ prompt, completion })) };
    const { examples } = await loadDataset({ source, tokenizer, vocabSize: decoder.vocabSize });
    return (await evaluateLoss(decoder, examples, 20)).perplexity;
  }
}

/** A row with something to compare with. */
type AnsweredRow = TextRow & { readonly completion: string };

async function textRows(path: string, tokenizer: Tokenizer): Promise<AnsweredRow[]> {
  const source = await fileSource(path);
  try {
    const rows = await loadTextRows({ source, tokenizer });
    return rows.filter((row): row is AnsweredRow => row.completion !== undefined);
  } finally {
    await source.close();
  }
}

function f(score: { readonly fmeasure: number } | undefined): number {
  return score?.fmeasure ?? 0;
}
