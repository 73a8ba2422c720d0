import { DataError } from '../errors.js';
import type { ChatMessage, TracedChat } from '../tokenizer/chat-template.js';
import type { TextSpan } from '../tokenizer/trace.js';
import { TurnLocator, type TraceMessages } from './turns.js';

export interface WrittenChat {
  readonly text: string;
  /** What is learnt: what the template marks with `generation` tags, else the assistant's turns behind their headers. */
  readonly learnt: readonly TextSpan[];
  /** `learnt` is what the template marks, and no closing token is searched in it. */
  readonly marked: boolean;
  /** Turns that are context only (`weight: 0`), whatever is learnt. */
  readonly excluded: readonly TextSpan[];
  /** Where the last answer begins, behind its header; undefined without one that is learnt. */
  readonly answerStart: number | undefined;
}

/**
 * Writes a conversation out with its chat template and finds what is learnt in it.
 *
 * Where the template has `{% generation %}` tags, that is exactly what they mark. Else it is each of the assistant's turns, from behind
 * what the generation prompt renders (header, and think block where it has one) to the end of what the message has written.
 * @throws DataError for a `weight` other than 0 and 1, and for marks that cannot be followed; what `trace` throws.
 */
export function writeChat(messages: readonly ChatMessage[], trace: TraceMessages): WrittenChat {
  const answers = messages.flatMap((message, index) => (message.role === 'assistant' ? [{ index, learnt: isLearnt(message, index) }] : []));
  const whole = trace(messages);
  const locator = new TurnLocator(messages, whole, trace);
  const lastLearnt = answers.findLast((answer) => answer.learnt);
  const excluded = answers.filter((answer) => !answer.learnt).map(({ index }) => locator.messageSpan(index)).filter((span) => span !== undefined);
  const answerStart = lastLearnt === undefined ? undefined : locator.turn(lastLearnt.index)?.start;
  if (whole.marksGeneration) {
    const learnt = marksOf(whole).filter((span) => !excluded.some((turn) => turn.start <= span.start && span.end <= turn.end));
    return { text: whole.text, learnt, marked: true, excluded, answerStart: answerStart ?? learnt.at(-1)?.start };
  }
  const turns = answers.filter((answer) => answer.learnt).map(({ index }) => locator.turn(index)).filter((span) => span !== undefined);
  return { text: whole.text, learnt: turns, marked: false, excluded, answerStart: turns.at(-1)?.start };
}

function marksOf({ generation }: TracedChat): readonly TextSpan[] {
  if (generation === undefined) {
    throw new DataError('the chat template changes what it has marked with {% generation %} (by a filter, say), so it cannot be told which tokens are marked');
  }
  return generation;
}

/** `weight`, `train` and `training` of a message: 0 and false make it context. */
function isLearnt(message: ChatMessage, index: number): boolean {
  let learnt: boolean | undefined;
  for (const key of ['weight', 'train', 'training']) {
    const given = message[key];
    if (given === undefined || given === null) continue;
    const value = typeof given === 'boolean' ? Number(given) : Number(typeof given === 'object' ? given.valueOf() : NaN);
    const number = typeof given === 'number' ? given : value;
    if (number !== 0 && number !== 1) {
      throw new DataError(`messages[${index}]: "${key}" must be 0 or 1, false or true, found ${JSON.stringify(given)} (other weights are not applied)`);
    }
    if (learnt !== undefined && learnt !== (number === 1)) throw new DataError(`messages[${index}]: "weight", "train" and "training" contradict each other`);
    learnt = number === 1;
  }
  return learnt ?? true;
}
