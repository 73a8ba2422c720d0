import { DataError } from '../errors.js';
import { isRecord } from '../io/json.js';
import type { ChatMessage, TracedChat } from '../tokenizer/chat-template.js';
import type { TextSpan } from '../tokenizer/trace.js';
import type { DataOptions } from './options.js';
import { TurnLocator, type TraceMessages } from './turns.js';

export interface WrittenChat {
  readonly text: string;
  /**
   * What is learnt: what the template marks with `generation` tags, else the assistant's turns behind their headers.
   */
  readonly learnt: readonly TextSpan[];
  /** `learnt` is what the template marks, and no closing token is searched in it. */
  readonly marked: boolean;
  /** Turns that are context only (`weight: 0`), whatever is learnt. */
  readonly excluded: readonly TextSpan[];
  /** There are tool calls of which the template writes nothing. */
  readonly omitsCalls: boolean;
  /** Where the last answer begins, behind its header; undefined without one that is learnt. */
  readonly answerStart: number | undefined;
}

/**
 * Writes a conversation out with its chat template and finds what is learnt in it.
 *
 * Where the template has `{% generation %}` tags, that is exactly what they mark. Else it is each of the assistant's
 * turns, from behind what the generation prompt renders (header, and think block where it has one) to the end of what
 * the message has written.
 * @param trainOn with `all` turns of every role can be context only
 * @throws DataError for a `weight` other than 0 and 1, one that asks for a turn that is not learnt, and for marks that
 * cannot be followed; what `trace` throws.
 */
export function writeChat(
  messages: readonly ChatMessage[],
  trace: TraceMessages,
  trainOn: DataOptions['train_on'] = 'completion',
): WrittenChat {
  const asked = messages.map(asksFor);
  const answers = messages.flatMap(({ role }, index) =>
    role === 'assistant' ? [{ index, learnt: asked[index] ?? true }] : [],
  );
  if (trainOn === 'completion') checkOthers(messages, asked);
  const whole = trace(messages);
  const locator = new TurnLocator(messages, whole, trace);
  const lastLearnt = answers.findLast((answer) => answer.learnt);
  const excluded = asked
    .map((learnt, index) =>
      learnt === false && (trainOn === 'all' || messages[index]?.role === 'assistant')
        ? locator.messageSpan(index)
        : undefined,
    )
    .filter((span) => span !== undefined);
  const omitsCalls = messages.some((message, index) => omits(message, whole, index));
  const answerStart = lastLearnt === undefined ? undefined : locator.turn(lastLearnt.index)?.start;
  if (whole.marksGeneration) {
    const learnt = marksOf(whole).filter(
      (span) => !excluded.some((turn) => turn.start <= span.start && span.end <= turn.end),
    );
    return {
      text: whole.text,
      learnt,
      marked: true,
      excluded,
      omitsCalls,
      answerStart: answerStart ?? learnt.at(-1)?.start,
    };
  }
  const turns = answers
    .filter((answer) => answer.learnt)
    .map(({ index }) => locator.turn(index))
    .filter((span) => span !== undefined);
  return { text: whole.text, learnt: turns, marked: false, excluded, omitsCalls, answerStart: turns.at(-1)?.start };
}

function marksOf({ generation }: TracedChat): readonly TextSpan[] {
  if (generation === undefined) {
    throw new DataError(
      'the chat template changes what it has marked with {% generation %} (by a filter, say), so it cannot be told which tokens are marked',
    );
  }
  return generation;
}

/** Whether none of the names of the calls of a message stands in what it has written. */
function omits({ tool_calls: calls }: ChatMessage, { text, messages }: TracedChat, index: number): boolean {
  if (!Array.isArray(calls) || calls.length === 0) return false;
  const { start, end } = messages.get(index) ?? { start: 0, end: messages.size > 0 ? 0 : text.length };
  const written = text.slice(start, end);
  const names = calls.map((call: unknown) =>
    isRecord(call) ? ((isRecord(call['function']) ? call['function'] : call)['name'] as unknown) : undefined,
  );
  const known = names.filter((name) => typeof name === 'string' && name !== '') as string[];
  return (
    known.length > 0 &&
    !known.some((name) => written.includes(name) || written.includes(JSON.stringify(name).slice(1, -1)))
  );
}

/** Only answers are learnt: another message that asks for it would be left out in silence. */
function checkOthers(messages: readonly ChatMessage[], asked: readonly (boolean | undefined)[]): void {
  messages.forEach(({ role }, index) => {
    if (role === 'assistant' || asked[index] !== true) return;
    const key = KEYS.find((name) => (messages[index]?.[name] ?? undefined) !== undefined);
    throw new DataError(
      `messages[${index}]: "${key}" asks to learn a message of role ${JSON.stringify(role)}, but only those of "assistant" are learnt: take it out, or set train_on to all, with weight 0 where nothing is to be learnt`,
    );
  });
}

const KEYS = ['weight', 'train', 'training'];

/** `weight`, `train` and `training` of a message: 0 and false make it context; undefined where it has none of them. */
function asksFor(message: ChatMessage, index: number): boolean | undefined {
  let learnt: boolean | undefined;
  for (const key of KEYS) {
    const given = message[key];
    if (given === undefined || given === null) continue;
    const value =
      typeof given === 'boolean' ? Number(given) : Number(typeof given === 'object' ? given.valueOf() : NaN);
    const number = typeof given === 'number' ? given : value;
    if (number !== 0 && number !== 1) {
      throw new DataError(
        `messages[${index}]: "${key}" must be 0 or 1, false or true, found ${JSON.stringify(given)} (other weights are not applied)`,
      );
    }
    if (learnt !== undefined && learnt !== (number === 1))
      throw new DataError(`messages[${index}]: "weight", "train" and "training" contradict each other`);
    learnt = number === 1;
  }
  return learnt;
}
