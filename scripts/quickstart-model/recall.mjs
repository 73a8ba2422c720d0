/**
 * Texts that are predictable from their own beginning alone: lists said again, and who has what, comes when, sits
 * where. They make a network look back and copy, and that early: see Olsson et al., "In-context Learning and Induction
 * Heads" (2022).
 * @typedef {import('./draw.mjs').Draw} Draw
 * @typedef {import('./passages.mjs').Question} Question
 */
import { COLOURS, DAYS, FOODS, HOURS, OBJECTS, PLACES, SPOTS, a, people } from './words.mjs';

/** A list in one order, said again. @param {Draw} draw */
export function echo(draw) {
  const names = people(draw, 3 + draw.below(6)).map(({ name }) => name);
  const items = draw.chance(0.3)
    ? draw.shuffled([...names.slice(0, 3), ...draw.some([...DAYS, ...HOURS, ...OBJECTS, ...COLOURS], 4)])
    : names;
  const gap = draw.pick([', ', ' and ', '; ', '\n', '. ']);
  const list = items.join(gap);
  const said = draw.chance(0.5) ? ` ${list}` : `\n${list}`;
  return { prompt: `Say:${said}\nAgain:`, completion: said };
}

/** Kinds of facts about persons: how one is told, and its two questions. */
const RELATIONS = [
  {
    of: () => OBJECTS,
    says: (/** @type {string} */ who, /** @type {string} */ x) => `${who} has ${a(x)}.`,
    asks: (/** @type {string} */ who) => `What does ${who} have?`,
    who: (/** @type {string} */ x) => `Who has ${a(x)}?`,
  },
  {
    of: () => DAYS,
    says: (/** @type {string} */ who, /** @type {string} */ x) => `${who} comes on ${x}.`,
    asks: (/** @type {string} */ who) => `When does ${who} come?`,
    who: (/** @type {string} */ x) => `Who comes on ${x}?`,
    before: 'on ',
  },
  {
    of: () => HOURS,
    says: (/** @type {string} */ who, /** @type {string} */ x) => `${who} leaves at ${x}.`,
    asks: (/** @type {string} */ who) => `When does ${who} leave?`,
    who: (/** @type {string} */ x) => `Who leaves at ${x}?`,
    before: 'at ',
  },
  {
    of: () => PLACES.map(({ at }) => at),
    says: (/** @type {string} */ who, /** @type {string} */ x) => `${who} is ${x}.`,
    asks: (/** @type {string} */ who) => `Where is ${who}?`,
    who: (/** @type {string} */ x) => `Who is ${x}?`,
  },
  {
    of: () => SPOTS,
    says: (/** @type {string} */ who, /** @type {string} */ x) => `${who} sits ${x}.`,
    asks: (/** @type {string} */ who) => `Where does ${who} sit?`,
    who: (/** @type {string} */ x) => `Who sits ${x}?`,
  },
  {
    of: () => FOODS,
    says: (/** @type {string} */ who, /** @type {string} */ x) => `${who} likes ${x}.`,
    asks: (/** @type {string} */ who) => `What does ${who} like?`,
    who: (/** @type {string} */ x) => `Who likes ${x}?`,
  },
  {
    of: () => COLOURS,
    says: (/** @type {string} */ who, /** @type {string} */ x) => `${who} wears ${x}.`,
    asks: (/** @type {string} */ who) => `What colour does ${who} wear?`,
    who: (/** @type {string} */ x) => `Who wears ${x}?`,
  },
];

/** Two to five persons and one fact about each, of one kind or of several. @param {Draw} draw */
function facts(draw) {
  const persons = people(draw, 2 + draw.below(4));
  const one = draw.pick(RELATIONS);
  const mixed = draw.chance(0.4);
  /** @type {Map<object, string[]>} */
  const rest = new Map(RELATIONS.map((relation) => [relation, draw.shuffled(relation.of())]));
  return persons.map(({ name }) => {
    const relation = mixed ? draw.pick(RELATIONS) : one;
    return { relation, name, value: /** @type {string} */ (rest.get(relation)?.pop()) };
  });
}

/**
 * Facts in one order and then in another, either as they are or each from its end to its person: a name decides what
 * follows, or the other way round. The pieces are without and with a loss by turns.
 * @param {Draw} draw @returns {string[]}
 */
export function recited(draw) {
  const told = facts(draw);
  const gap = draw.chance(0.5) ? ' ' : '\n';
  const back = draw.chance(0.6);
  const pieces = [
    `Say:${told.map(({ relation, name, value }) => gap + relation.says(name, value)).join('')}\n${back ? 'Who' : 'Again'}:`,
  ];
  for (const { relation, name, value } of draw.shuffled(told)) {
    const said = relation.says(name, value).slice(name.length + 1, -1);
    const verb = said.slice(0, said.length - value.length).trimEnd();
    pieces[pieces.length - 1] += gap + (back ? `${said}:` : `${name} ${verb}`);
    pieces.push(` ${back ? name : value}`, '.');
  }
  return pieces;
}

/**
 * Some facts and questions about them.
 * @param {Draw} draw @param {number} count of questions @param {boolean} both for each fact the question for what and
 * the one for whom
 * @returns {{text: string, questions: Question[]}}
 */
export function roll(draw, count, both) {
  const told = facts(draw);
  const gap = draw.chance(0.5) ? ' ' : '\n';
  const questions = told.flatMap(({ relation, name, value }) => {
    const pair = [
      { question: relation.asks(name), answer: `${relation.before ?? ''}${value}` },
      { question: relation.who(value), answer: name },
    ];
    return both ? pair : [/** @type {Question} */ (pair[draw.chance(0.5) ? 0 : 1])];
  });
  return {
    text: told.map(({ relation, name, value }) => gap + relation.says(name, value)).join(''),
    questions: draw.some(questions, count),
  };
}
