/**
 * Reviews with their sentiment. Some praise first and blame later, some say "not bad": single words do not decide.
 * @typedef {import('./draw.mjs').Draw} Draw
 * @typedef {{thing: string, parts: readonly string[]}} Subject
 */
import { DAYS, FOODS, a, people, upper } from './words.mjs';

/** Parts take "was"; each can be good or bad. @type {readonly Subject[]} */
const SUBJECTS = [
  { thing: 'film', parts: ['story', 'music', 'end', 'first half', 'main character'] },
  { thing: 'book', parts: ['story', 'end', 'first half', 'main character', 'cover'] },
  { thing: 'restaurant', parts: ['food', 'waiter', 'room', 'music', 'price', ...FOODS] },
  { thing: 'hotel', parts: ['room', 'bed', 'food', 'garden', 'price', 'view'] },
  { thing: 'phone', parts: ['camera', 'price', 'sound', 'colour', 'screen'] },
  { thing: 'market', parts: ['food', 'music', 'price', 'fish', 'bread'] },
  { thing: 'park', parts: ['lake', 'garden', 'music', 'view', 'grass'] },
  { thing: 'bike', parts: ['price', 'colour', 'seat', 'light', 'bell'] },
  { thing: 'game', parts: ['story', 'music', 'end', 'price', 'sound'] },
  { thing: 'song', parts: ['sound', 'music', 'end', 'first half', 'voice'] },
];
const GOOD = ['good', 'great', 'nice', 'lovely', 'wonderful', 'perfect', 'excellent', 'very good'];
const BAD = ['bad', 'terrible', 'awful', 'poor', 'very bad', 'horrible'];

const VISITED = /restaurant|hotel|market|park/;

/** @param {Draw} draw @param {Subject} subject @param {boolean} positive */
function verdict(draw, { thing }, positive) {
  const who = String(people(draw, 1)[0]?.name);
  return positive
    ? draw.pick([
        `I loved this ${thing}.`,
        `I really liked this ${thing}.`,
        `This is the best ${thing} in a long time.`,
        `What ${a(draw.pick(GOOD))} ${thing}!`,
        VISITED.test(thing) ? `I will come back to this ${thing} soon.` : `I want another ${thing} like this.`,
        `This ${thing} made me happy.`,
        `I would tell all my friends about this ${thing}.`,
        `My friend ${who} and I had a lot of fun with this ${thing}.`,
        `${who} loved this ${thing}, and so did I.`,
      ])
    : draw.pick([
        `I hated this ${thing}.`,
        `I did not like this ${thing}.`,
        `This is the worst ${thing} in a long time.`,
        `What ${a(draw.pick(BAD))} ${thing}!`,
        VISITED.test(thing) ? `I will never come back to this ${thing}.` : `I never want another ${thing} like this.`,
        `This ${thing} made me angry.`,
        `I would not tell my friends about this ${thing}.`,
        `My friend ${who} and I had no fun with this ${thing}.`,
        `${who} hated this ${thing}, and so did I.`,
      ]);
}

/** @param {Draw} draw @param {string} part @param {boolean} good */
function remark(draw, part, good) {
  const plain = `the ${part} was ${draw.pick(good ? GOOD : BAD)}`;
  const other = good
    ? draw.pick([`the ${part} was not bad at all`, `the ${part} was better than I had hoped`, `I liked the ${part}`])
    : draw.pick([
        `the ${part} was not good at all`,
        `the ${part} was worse than I had feared`,
        `I did not like the ${part}`,
      ]);
  return draw.chance(0.6) ? plain : other;
}

/**
 * @param {Draw} draw
 * @returns {{text: string, sentiment: 'positive' | 'negative'}}
 */
export function review(draw) {
  const subject = draw.pick(SUBJECTS);
  const positive = draw.chance(0.5);
  const [first, second, third] = /** @type {[string, string, string]} */ (draw.some(subject.parts, 3));
  const say = (/** @type {string} */ part, /** @type {boolean} */ good) => remark(draw, part, good);
  const final = verdict(draw, subject, positive);
  const when = draw.pick(['', '', `We were there on ${draw.pick(DAYS)}. `, `I got it last ${draw.pick(DAYS)}. `]);
  const fits = VISITED.test(subject.thing) === when.startsWith('We') ? when : '';
  const body = draw.pick([
    () => `${upper(say(first, positive))} and ${say(second, positive)}. ${final}`,
    () => `${final} ${upper(say(first, positive))}, and ${say(second, positive)}.`,
    () => `${upper(say(first, !positive))}, but ${say(second, positive)} and ${say(third, positive)}. ${final}`,
    () => `${upper(say(first, positive))}. ${upper(say(second, positive))}. ${final}`,
    () => `${final} Only ${say(first, !positive)}.`.replace('Only I', 'But I'),
    () => `I know that the ${first} was ${draw.pick(positive ? BAD : GOOD)}. But ${say(second, positive)}. ${final}`,
    () => `${upper(say(first, positive))}. ${upper(say(second, positive))}. ${upper(say(third, positive))}.`,
  ])();
  return { text: fits + body, sentiment: positive ? 'positive' : 'negative' };
}
