/**
 * Rows of text for pretraining the quickstart model, and the rows that are kept from it.
 * @typedef {import('./draw.mjs').Draw} Draw
 * @typedef {'story' | 'sentiment' | 'question' | 'dialogue'} Task
 * @typedef {'train' | 'held-out'} Split
 * @typedef {{task: Task, prompt: string, completion: string, key: string}} Row
 */
import { asQuotedSpeech, asScript, scene } from './dialogues.mjs';
import { Draw, hash } from './draw.mjs';
import { passage } from './passages.mjs';
import { review } from './reviews.mjs';
import { story } from './stories.mjs';

/** One text in so many is held out, by a hash of what it says: no seed can bring it back into training. */
const HELD_OUT_ONE_IN = 16;

/** @param {string} key @returns {Split} */
export function splitOf(key) {
  return hash(key) % HELD_OUT_ONE_IN === 0 ? 'held-out' : 'train';
}

/** @param {Draw} draw @returns {Row} */
function storyRow(draw) {
  const text = story(draw);
  const cut = /^(?:.*?[.!?]"? ){2}/.exec(text)?.[0].trimEnd() ?? '';
  return { task: 'story', prompt: cut, completion: text.slice(cut.length), key: text };
}

/** @param {Draw} draw @returns {Row} */
function sentimentRow(draw) {
  const { text, sentiment } = review(draw);
  return { task: 'sentiment', prompt: `Review: ${text}\nSentiment:`, completion: ` ${sentiment}`, key: text };
}

/** The last of `count` questions is the one to be answered. @param {Draw} draw @param {number} count @returns {Row} */
function questionRow(draw, count) {
  const talk = draw.chance(0.45) ? scene(draw) : undefined;
  const facts = talk === undefined ? passage(draw, count) : undefined;
  const text = talk === undefined ? String(facts?.text) : asQuotedSpeech(talk);
  const asked = talk === undefined ? facts?.questions ?? [] : draw.some(talk.questions, count).map(([question, answer]) => ({ question, answer }));
  const lines = asked.map(({ question, answer }) => `\nQuestion: ${question}\nAnswer: ${answer}`).join('');
  const completion = ` ${asked.at(-1)?.answer}`;
  const whole = `Passage:${text}${lines}`;
  return { task: 'question', prompt: whole.slice(0, whole.length - completion.length), completion, key: talk?.summary ?? text };
}

/** @param {Draw} draw @returns {Row} */
function dialogueRow(draw) {
  const talk = scene(draw);
  return { task: 'dialogue', prompt: `Dialogue:\n${asScript(talk)}\nSummary:`, completion: ` ${talk.summary}`, key: talk.summary };
}

/**
 * `count` different rows of one task and one split.
 * @param {Task} task @param {number} count @param {number} seed @param {Split} split
 * @returns {Row[]}
 */
export function rowsOf(task, count, seed, split) {
  const draw = new Draw(seed, `${task}/${split}`);
  const make = { story: storyRow, sentiment: sentimentRow, question: (/** @type {Draw} */ d) => questionRow(d, 1), dialogue: dialogueRow }[task];
  /** @type {Map<string, Row>} */
  const rows = new Map();
  while (rows.size < count) {
    const row = make(draw);
    if (splitOf(row.key) === split) rows.set(row.key, row);
  }
  return [...rows.values()];
}

/**
 * The pretraining stream: stories, reviews and questions of the training split; never a summary.
 * @param {number} count @param {number} seed
 * @returns {Generator<Row>}
 */
export function* pretrainingRows(count, seed) {
  const draw = new Draw(seed, 'pretraining');
  for (let made = 0; made < count; ) {
    const kind = draw.uniform();
    const row = kind < 0.35 ? storyRow(draw) : kind < 0.5 ? sentimentRow(draw) : questionRow(draw, 1 + draw.below(3));
    if (splitOf(row.key) !== 'train') continue;
    made++;
    yield row;
  }
}
