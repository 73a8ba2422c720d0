/**
 * Dialogues of two people, each with its summary: the task that the quickstart teaches. Pretraining never sees a
 * summary or lines that begin with a name; it sees the same talk as quoted speech with questions about it.
 * @typedef {import('./draw.mjs').Draw} Draw
 * @typedef {import('./words.mjs').Being} Being
 * @typedef {{draw: Draw, one: Being, two: Being, third: Being}} Talkers
 * @typedef {{who: Being, says: string}} Turn
 * @typedef {{turns: Turn[], summary: string, questions: [string, string][], roles: [string, string][]}} Scene `roles`:
 * questions about which of the two does what
 * @typedef {(talkers: Talkers) => Scene} Scenario
 */
import { ASKING, CONFUSABLE_ASKING } from './scenes-asking.mjs';
import { CONFUSABLE_PLANNING, PLANNING } from './scenes-planning.mjs';
import { COLOURS, DAYS, FOODS, HOURS, OBJECTS, PLACES, people } from './words.mjs';

const SCENARIOS = [...ASKING, ...PLANNING];
/** Scenes that are drawn more often, those that were confused most twice as often as the others. */
const CONFUSABLE = [...CONFUSABLE_PLANNING, ...CONFUSABLE_PLANNING, ...CONFUSABLE_ASKING];

/**
 * What people say before they come to the point; the summary leaves it out. `one` is who then begins.
 * @param {Draw} draw @param {Being} one @param {Being} two @returns {Turn[]}
 */
function smallTalk(draw, one, two) {
  const hello = {
    who: one,
    says: draw.pick([`Hello, ${two.name}!`, `Hi, ${two.name}.`, `Good morning, ${two.name}.`, `Hi, ${two.name}!`]),
  };
  const back = {
    who: two,
    says: draw.pick([
      `Hello, ${one.name}!`,
      `Hi, ${one.name}, nice to see you.`,
      'Hello, nice to see you.',
      `Hi, ${one.name}! What is new?`,
    ]),
  };
  const [remark, answer] = /** @type {[string, string]} */ (
    draw.pick([
      [`I was ${draw.pick(PLACES).at} this morning.`, 'That is nice to hear.'],
      ['It is a lovely day.', 'Yes, I love the sun.'],
      ['How are you?', 'I am fine, thank you.'],
      ['I like your new shoes.', 'Thank you, you are very kind.'],
      ['I saw your brother this morning.', 'Yes, he told me.'],
      ['What a long day!', 'Yes, I am tired too.'],
    ])
  );
  const kind = draw.uniform();
  if (kind < 0.35) return [];
  return kind < 0.7 ? [hello, back] : [hello, { who: two, says: remark }, { who: one, says: answer }];
}

/** @param {Draw} draw @param {Being} who @returns {Turn[]} */
function farewell(draw, who) {
  if (draw.chance(0.6)) return [];
  return [{ who, says: draw.pick(['See you soon!', 'Bye!', 'All right. See you!', 'Goodbye!']) }];
}

/**
 * One scene with small talk around it.
 * @param {Draw} draw
 * @param {number} [confusable] the share of scenes drawn from `CONFUSABLE`; the rest is drawn from all scenes
 * @returns {Scene & Talkers}
 */
export function scene(draw, confusable = 0) {
  const [one, two, third] = /** @type {[Being, Being, Being]} */ (people(draw, 3));
  const talkers = { draw, one, two, third };
  const core = draw.pick(confusable > 0 && draw.chance(confusable) ? CONFUSABLE : SCENARIOS)(talkers);
  const [opener, listener] = core.turns[0]?.who === one ? [one, two] : [two, one];
  const last = core.turns.at(-1)?.who === one ? two : one;
  const turns = [...smallTalk(draw, opener, listener), ...core.turns, ...farewell(draw, last)];
  return { ...talkers, ...core, turns: joined(turns) };
}

/** Two remarks of one person in a row become one. @param {Turn[]} turns */
function joined(turns) {
  /** @type {Turn[]} */
  const result = [];
  for (const turn of turns) {
    const last = result.at(-1);
    if (last?.who === turn.who) last.says += ` ${turn.says}`;
    else result.push({ ...turn });
  }
  return result;
}

const DETAILS = new RegExp(
  `\\b(?:${[...COLOURS, ...DAYS, ...FOODS, ...HOURS, ...OBJECTS, ...PLACES.map(({ place }) => place)].join('|')})\\b`,
  'g',
);

/**
 * How a dialogue is put, without who and what: every name is N, and every day, hour, place, thing and colour X.
 * Dialogues of training and held-out ones have no shape in common.
 * @param {Scene & Talkers} scene
 */
export function shape({ turns, one, two, third }) {
  const names = new RegExp(`\\b(?:${[one, two, third].map(({ name }) => name).join('|')})\\b`, 'g');
  return turns
    .map(({ who, says }) => `${who === one ? 1 : 2}: ${says.replace(names, 'N').replace(DETAILS, 'X')}`)
    .join('\n');
}

/**
 * Questions of any talk: who says something, to whom, and with whom somebody talks. @param {Scene & Talkers} scene
 * @returns {[string, string][]}
 */
export function whoSays({ turns, one, two, draw }) {
  const other = (/** @type {Being} */ who) => (who === one ? two : one).name;
  return draw.some(turns, 2).flatMap(({ who, says }) => {
    const first = /^[^.!?]*[.!?]/.exec(says)?.[0] ?? says;
    /** @type {[string, string][]} */
    const questions = [
      [`Who says "${first}"`, who.name],
      [`To whom does ${who.name} say "${first}"`, other(who)],
      [`Who talks with ${who.name}?`, other(who)],
    ];
    return draw.some(questions, 2);
  });
}

/** @param {Scene} scene */
export function asScript({ turns }) {
  return turns.map(({ who, says }) => `${who.name}: ${says}`).join('\n');
}

/**
 * The same talk as a story tells it, in one paragraph (`"Hello," said Tom.`) or line by line (`Tom said, "Hello."`).
 * @param {Scene & Talkers} scene
 */
export function asQuotedSpeech({ turns, draw }) {
  if (draw.chance(0.5)) return turns.map(({ who, says }) => `\n${who.name} ${verb(says)}, "${says}"`).join('');
  return turns
    .map(({ who, says }) => {
      const first = /^[^.!?]*[.!?]/.exec(says)?.[0] ?? says;
      const rest = says.slice(first.length).trim();
      if (rest === '') return ` "${beforeTag(first)}" ${verb(first)} ${who.name}.`;
      if (draw.chance(0.5)) return ` "${beforeTag(first)}" ${verb(first)} ${who.name}. "${rest}"`;
      return ` "${beforeTag(says)}" ${verb(says)} ${who.name}.`;
    })
    .join('');
}

/** @param {string} says */
function verb(says) {
  return says.endsWith('?') ? 'asked' : 'said';
}

/** @param {string} says */
function beforeTag(says) {
  return says.replace(/\.$/, ',');
}
