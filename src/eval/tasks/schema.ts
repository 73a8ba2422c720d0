import * as z from 'zod';
import { parseConfigDocument } from '../../config/document.js';
import type { TypeNode } from '../../config/options.js';
import { folderOf, joinPath } from '../../config/paths.js';
import { describeProblems, schemaProblems, type Problem, type SchemaWords } from '../../config/problems.js';
import { ConfigError } from '../../errors.js';
import { compileTemplate } from '../../tokenizer/template.js';
import { BERTSCORE_PARTS } from '../metrics/bertscore.js';
import { TEXT_METRICS, type TextMetricName } from './metrics.js';

const text = () => z.string().min(1);
const count = () => z.int().min(1);
const fields = () => z.union([text(), z.array(text()).min(1)]);

const common = {
  name: text(),
  /** Data files, relative to the task file. */
  data: fields(),
  /** Take only so many rows, the first ones. */
  limit: count().optional(),
  /** What a model that was trained on something else should still be able to do: reported as forgetting. */
  retain: z.boolean().default(false),
};

const prompted = {
  ...common,
  /** Jinja template over the fields of a row. */
  prompt: text(),
  /** The prompt is the user's turn of a conversation that the model's chat template writes out. */
  chat: z.boolean().default(false),
  /** Solved rows in front of every prompt. */
  few_shot: z
    .strictObject({
      data: text(),
      count: count(),
      /** Only rows that have the same value in this field. */
      match: text().optional(),
      separator: z.string().default('\n\n'),
    })
    .optional(),
};

const generation = z.strictObject({
  max_new_tokens: count().default(128),
  temperature: z.number().min(0).default(0),
  top_k: z.int().min(0).default(0),
  top_p: z.number().gt(0).max(1).default(1),
  seed: z.int().min(0).default(0),
  /** The answer ends before the first of these. */
  stop: z.array(text()).default([]),
});

/** Similarity of meaning, as an encoder sees it; it gives bertscore_precision, bertscore_recall and bertscore_f1. */
const bertscore = z.strictObject({
  name: z.literal('bertscore'),
  /** Folder of an encoder in ONNX, relative to the task file. */
  model: text(),
  /** The layer whose hidden states are compared; the last where absent. */
  num_layers: count().optional(),
  /** Rare tokens of the references weigh more. */
  idf: z.boolean().default(false),
  /** What becomes 0 of precision, recall and F1: scores of unrelated texts. Nothing is rescaled where absent. */
  baseline: z.tuple([z.number().lt(1), z.number().lt(1), z.number().lt(1)]).optional(),
});

/** F1 of one class; it is reported as f1_ and the label. */
const f1 = z.strictObject({
  name: z.literal('f1'),
  /** The first reference of the items that are of this class. */
  label: text(),
});

const generate = z.strictObject({
  type: z.literal('generate'),
  ...prompted,
  /** Fields that hold a reference each, or a list of them. */
  references: fields(),
  /** Rows with the same prompt are one item with all their references. */
  group: z.boolean().default(false),
  generation: generation.prefault({}),
  metrics: z
    .array(z.union([z.enum(Object.keys(TEXT_METRICS) as [TextMetricName, ...TextMetricName[]]), bertscore, f1]))
    .min(1),
});

const multipleChoice = z.strictObject({
  type: z.literal('multiple_choice'),
  ...prompted,
  /** A field with a list of texts, or with an object of texts and whether they are right (1 or 0). */
  choices: text(),
  /** A field with the index of the right choice, or its text. Not for an object of choices. */
  answer: text().optional(),
  /** Template of what is rated, over the row's fields, `choice`, `index` and `letter`. */
  choice_template: text().default(' {{ choice }}'),
  metrics: z.array(z.enum(['accuracy', 'accuracy_norm', 'mc1', 'mc2', 'calibration_error'])).min(1),
});

const loss = z.strictObject({
  type: z.literal('loss'),
  ...common,
  /** Template of the text, or of what stands before the completion. */
  prompt: text().optional(),
  /** Template of the completion; only its tokens count. */
  completion: text().optional(),
  max_length: z.int().min(2).default(512),
  metrics: z.array(z.enum(['loss', 'perplexity', 'bits_per_byte'])).min(1),
});

const schema = z.strictObject({
  tasks: z.array(z.discriminatedUnion('type', [generate, multipleChoice, loss])).min(1),
});

export type EvalTask = z.infer<typeof schema>['tasks'][number];
export type GenerateTask = Extract<EvalTask, { type: 'generate' }>;
export type ChoiceTask = Extract<EvalTask, { type: 'multiple_choice' }>;
export type LossTask = Extract<EvalTask, { type: 'loss' }>;
export type PromptedTask = GenerateTask | ChoiceTask;

const WORDS: SchemaWords = { tree: z.toJSONSchema(schema, { io: 'input' }) as TypeNode, options: [] };

/**
 * A task file: `tasks:` with a list of tasks, in YAML or JSON.
 * @throws ConfigError listing every problem with its place, what was found and what is allowed.
 */
export function parseTasks(source: string, name: string): EvalTask[] {
  const document = parseConfigDocument(source, name);
  const parsed = schema.safeParse(document.values);
  const problems = parsed.success
    ? contentProblems(parsed.data.tasks)
    : schemaProblems(parsed.error.issues, document.values, WORDS);
  if (!parsed.success || problems.length > 0)
    throw new ConfigError(describeProblems(problems, `task file ${name}`, (path) => document.locate(path)));
  return parsed.data.tasks.map((task) =>
    task.type === 'generate'
      ? {
          ...task,
          metrics: task.metrics.map((metric) =>
            typeof metric === 'object' && metric.name === 'bertscore'
              ? { ...metric, model: joinPath(folderOf(name), metric.model) }
              : metric,
          ),
        }
      : task,
  );
}

/** Names that stand twice, and templates that do not parse. */
function contentProblems(tasks: readonly EvalTask[]): Problem[] {
  return tasks.flatMap((task, i) => {
    const twice =
      tasks.findIndex(({ name }) => name === task.name) < i
        ? [
            {
              path: ['tasks', i, 'name'],
              message: `is ${JSON.stringify(task.name)} again: two tasks are called ${task.name}`,
            },
          ]
        : [];
    const templates = (['prompt', 'completion', 'choice_template'] as const).flatMap((key) => {
      const template = (task as Partial<Record<typeof key, string>>)[key];
      const problem = template === undefined ? undefined : templateProblem(template);
      return problem === undefined ? [] : [{ path: ['tasks', i, key], message: problem }];
    });
    return [...twice, ...templates];
  });
}

function templateProblem(source: string): string | undefined {
  try {
    compileTemplate(source, 'template');
    return undefined;
  } catch (error) {
    const message = error instanceof Error ? error.message.replace(/^template /, '') : String(error);
    return `${message} (fields whose names have blanks are written {{ row['…'] }})`;
  }
}

/** The names of what a task measures. */
export function metricNames({ metrics }: EvalTask): string[] {
  return metrics.flatMap((metric) =>
    typeof metric === 'string' ? [metric] : metric.name === 'f1' ? [classF1Name(metric)] : BERTSCORE_PARTS,
  );
}

/** What the F1 of a class is reported as: of one task there may be several. */
export function classF1Name({ label }: { readonly label: string }): string {
  return `f1_${label}`;
}
