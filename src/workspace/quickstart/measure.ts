import { loadDataset, loadTextRows, type TextRow } from '../../data/dataset.js';
import { completePrompts } from '../../eval/complete.js';
import { evaluateLoss } from '../../eval/loss.js';
import { meanRouge } from '../../eval/metrics/rouge.js';
import { accuracy, exactMatch, leadingLabel } from '../../eval/metrics/scores.js';
import { fileSource } from '../../io/node.js';
import type { Session } from '../../session.js';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import { namesRight, whenRight, type Summarised } from './facts.js';

/** How well a model does the new task and the ones it could do before. Scores are shares, 0 to 1. */
export interface Measured {
  /** Summaries that name both speakers, in the order of the reference. */
  readonly names: number;
  /** Of the summaries whose reference has a weekday or an hour, those with the same ones. */
  readonly when: number;
  /** Mean F-measure of ROUGE-L over the summaries. */
  readonly rougeL: number;
  /** Questions about a dialogue or a passage that are answered word for word. */
  readonly questions: number;
  /** Reviews whose sentiment is named right. */
  readonly sentiment: number;
  /** Probability of the next token of a story, geometric mean: 1 / perplexity. */
  readonly stories: number;
  readonly samples: readonly Summarised[];
  /** How many rows stand behind the scores. */
  readonly rows: Readonly<Record<'summaries' | 'questions' | 'sentiment' | 'stories', number>>;
}

export interface MeasureFiles {
  readonly validation: string;
  readonly retain: string;
}

const SAMPLES = 3;
const TASK_TOKENS = { summary: 40, sentiment: 4, question: 16 } as const;

/** Evaluates a session's model, with its adapter where it has one. */
export async function measure({ decoder, tokenizer, device }: Session, files: MeasureFiles): Promise<Measured> {
  if (tokenizer === undefined) throw new Error('the quickstart model has a tokenizer');
  return device.guard(
    (async () => {
      const rows = await textRows(files.validation, tokenizer);
      const completions = await completeAll(rows, TASK_TOKENS.summary);
      const summaries = rows.map((row, i): Summarised => ({
        prompt: row.prompt,
        reference: row.completion.trim(),
        completion: completions[i] as string,
      }));
      const rouge = meanRouge(
        completions,
        summaries.map(({ reference }) => reference),
        { types: ['rougeL'], stemming: true },
      );
      const retain = await textRows(files.retain, tokenizer);
      const of = (task: string): AnsweredRow[] => retain.filter((row) => row.fields['task'] === task);
      const [questions, reviews, stories] = [of('question'), of('sentiment'), of('story')];
      const answers = await completeAll(questions, TASK_TOKENS.question);
      const sentiment = await completeAll(reviews, TASK_TOKENS.sentiment);
      return {
        names: share(summaries.map(namesRight)),
        when: share(summaries.map(whenRight)),
        rougeL: rouge['rougeL']?.fmeasure ?? 0,
        questions: share(questions.map((row, i) => exactMatch(answers[i] as string, row.completion))),
        sentiment: accuracy(
          sentiment.map((text) => leadingLabel(text, ['positive', 'negative'])),
          reviews.map((row) => row.completion.trim()),
        ),
        stories: 1 / (await perplexity(stories)),
        samples: summaries.slice(0, SAMPLES),
        rows: {
          summaries: rows.length,
          questions: questions.length,
          sentiment: reviews.length,
          stories: stories.length,
        },
      };
    })(),
  );

  function completeAll(rows: readonly AnsweredRow[], maxNewTokens: number): Promise<string[]> {
    return completePrompts(
      decoder,
      tokenizer as Tokenizer,
      rows.map((row) => row.prompt),
      { maxNewTokens, batchSize: 20, stopStrings: ['\n'] },
    );
  }

  async function perplexity(rows: readonly AnsweredRow[]): Promise<number> {
    const source = { name: 'rows', rows: rows.map(({ prompt, completion }) => ({ prompt, completion })) };
    const { examples } = await loadDataset({ source, tokenizer, vocabSize: decoder.vocabSize });
    return Math.exp((await evaluateLoss(decoder, examples, 20)).loss);
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

/** The share of what is true; what is undefined does not count. */
function share(verdicts: readonly (boolean | undefined)[]): number {
  const counted = verdicts.filter((verdict) => verdict !== undefined);
  return counted.filter(Boolean).length / counted.length;
}
