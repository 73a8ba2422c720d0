/**
 * Rows of text for pretraining the quickstart model, and the rows that are kept from it.
 * @typedef {import('./draw.mjs').Draw} Draw
 * @typedef {'story' | 'sentiment' | 'question' | 'dialogue' | 'echo'} Task
 * @typedef {'train' | 'held-out'} Split
 * @typedef {{task: Task, prompt: string, completion: string, key: string, pieces?: string[]}} Row `pieces`: without and
 * with a loss by turns
 */
import { asQuotedSpeech, asScript, scene, shape, whoSays } from './dialogues.mjs';
import { Draw, hash } from './draw.mjs';
import { passage } from './passages.mjs';
import { echo, recited, roll } from './recall.mjs';
import { review } from './reviews.mjs';
import { story } from './stories.mjs';

/**
 * One text in so many is held out, by a hash of what it says (of how it says it, for a dialogue: see `shape`): no seed
 * can bring it back into training. Besides, the names of rows that are held out are in no row of training (names.mjs).
 */
const HELD_OUT_ONE_IN = 8;

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

/**
 * How often a kind of row comes: echoes as a share of all rows (and facts recited as a share of the echoes), stories
 * and reviews as shares of the others; and a kind of passage, as a share of the questions. Later stages of pretraining
 * ask more of each passage; the fourth and the seventh ask more of dialogues, with more names that look real. From the
 * fifth on names look like one another in one text, and dialogues are asked for who says what to whom; the sixth
 * recites facts besides. From the eighth on a share of the names is drawn so that every token is equally frequent
 * (`spelt`); from the ninth on dialogues are asked which speaker does what, and a share of them (`roles`) is of scenes
 * in which the speakers are easily confused. The vocabulary is that of the first.
 * @typedef {{echo: number, recited: number, story: number, sentiment: number, talk: number, roll: number, questions:
 * [least: number, most: number], scripts: boolean, both: boolean, blends: number, alike: number, spelt: number,
 * speakers: boolean, roles: number}} Mix
 */
const FIRST = {
  echo: 0.1,
  recited: 0,
  story: 0.18,
  sentiment: 0.1,
  talk: 0.45,
  roll: 0.15,
  scripts: true,
  both: false,
  blends: 0,
  alike: 0,
  spelt: 0,
  speakers: false,
  roles: 0,
  questions: /** @type {[number, number]} */ ([2, 6]),
};
/**
 * @typedef {'copying' | 'first' | 'second' | 'third' | 'fourth' | 'fifth' | 'sixth' | 'seventh' | 'eighth' | 'ninth' |
 * 'tenth'} Stage
 * @type {Readonly<Record<Stage, Mix>>}
 */
export const MIXES = {
  copying: { ...FIRST, echo: 0.6 },
  first: FIRST,
  second: { ...FIRST, story: 0.14, sentiment: 0.08, talk: 0.4, roll: 0.25, both: true, questions: [4, 8] },
  third: { ...FIRST, echo: 0.05, story: 0.12, sentiment: 0.08, talk: 0.42, roll: 0.12, both: true, questions: [4, 8] },
  fourth: {
    ...FIRST,
    echo: 0.1,
    story: 0.12,
    sentiment: 0.08,
    talk: 0.6,
    roll: 0.1,
    both: true,
    questions: [4, 8],
    blends: 0.6,
  },
  fifth: {
    ...FIRST,
    echo: 0.06,
    story: 0.1,
    sentiment: 0.08,
    talk: 0.4,
    roll: 0.3,
    both: true,
    questions: [4, 8],
    blends: 0.4,
    alike: 0.3,
    speakers: true,
  },
  sixth: {
    ...FIRST,
    echo: 0.25,
    recited: 0.8,
    story: 0.1,
    sentiment: 0.08,
    talk: 0.4,
    roll: 0.3,
    both: true,
    questions: [4, 8],
    blends: 0.4,
    alike: 0.3,
    speakers: true,
  },
  seventh: {
    ...FIRST,
    echo: 0.06,
    story: 0.12,
    sentiment: 0.08,
    talk: 0.55,
    roll: 0.05,
    both: true,
    questions: [4, 8],
    blends: 0.6,
    alike: 0.2,
    speakers: true,
  },
  eighth: {
    ...FIRST,
    echo: 0.12,
    story: 0.1,
    sentiment: 0.06,
    talk: 0.6,
    roll: 0.05,
    both: true,
    questions: [4, 8],
    blends: 0.4,
    alike: 0.2,
    spelt: 0.5,
    speakers: true,
  },
  ninth: {
    ...FIRST,
    echo: 0.12,
    story: 0.1,
    sentiment: 0.06,
    talk: 0.6,
    roll: 0.05,
    both: true,
    questions: [4, 8],
    blends: 0.4,
    alike: 0.2,
    spelt: 0.5,
    speakers: true,
    roles: 0.3,
  },
  tenth: {
    ...FIRST,
    echo: 0.2,
    story: 0.08,
    sentiment: 0.05,
    talk: 0.48,
    roll: 0.02,
    both: true,
    questions: [4, 8],
    blends: 0.5,
    alike: 0.2,
    spelt: 0.75,
    speakers: true,
    roles: 0.2,
  },
};
/**
 * Rows that are measured have one question, about a dialogue or a passage; lists of similar facts the model never
 * learnt to tell apart. @type {Mix}
 */
const MEASURED = { ...FIRST, talk: 0.5, roll: 0, questions: [1, 1] };

/** The last of some questions is the one to be answered. @param {Draw} draw @param {Mix} mix @returns {Row} */
function questionRow(draw, { talk, roll: rolls, questions: [least, most], scripts, both, speakers, roles }) {
  const count = least + (most > least ? draw.below(most - least + 1) : 0);
  const kind = draw.uniform();
  if (kind < talk) {
    const said = scene(draw, roles);
    const asked = draw
      .some([...said.questions, ...(speakers ? whoSays(said) : []), ...(roles > 0 ? said.roles : [])], count)
      .map(([question, answer]) => ({ question, answer }));
    return asking(
      scripts && draw.chance(0.5) ? `Dialogue:\n${asScript(said)}` : `Passage:${asQuotedSpeech(said)}`,
      asked,
      shape(said),
    );
  }
  const { text, questions } = kind < talk + rolls ? roll(draw, count, both) : passage(draw, count);
  return asking(`Passage:${text}`, questions, text);
}

/** @param {string} head @param {import('./passages.mjs').Question[]} questions @param {string} key @returns {Row} */
function asking(head, questions, key) {
  const lines = questions.map(({ question, answer }) => `\nQuestion: ${question}\nAnswer: ${answer}`).join('');
  const completion = ` ${questions.at(-1)?.answer}`;
  const whole = head + lines;
  return { task: 'question', prompt: whole.slice(0, whole.length - completion.length), completion, key };
}

/** @param {Draw} draw @param {number} share of facts recited @returns {Row} */
function echoRow(draw, share) {
  if (share > 0 && draw.chance(share)) {
    const pieces = recited(draw);
    return {
      task: 'echo',
      prompt: String(pieces[0]),
      completion: pieces.slice(1).join(''),
      key: String(pieces[0]),
      pieces,
    };
  }
  const { prompt, completion } = echo(draw);
  return { task: 'echo', prompt, completion, key: prompt };
}

/** @param {Draw} draw @param {number} confusable see `scene` @returns {Row} */
function dialogueRow(draw, confusable) {
  const talk = scene(draw, confusable);
  return {
    task: 'dialogue',
    prompt: `Dialogue:\n${asScript(talk)}\nSummary:`,
    completion: ` ${talk.summary}`,
    key: shape(talk),
  };
}

/**
 * What rows are drawn with (see `Draw` and `scene`): those for training have two more kinds of names, and more of the
 * scenes in which the speakers are easily confused; those that are measured have neither.
 */
const DRAWN_FOR = {
  train: { blends: 0.5, spelt: 0.3, confusable: 0.15 },
  'held-out': { blends: 0, spelt: 0, confusable: 0 },
};

/**
 * `count` different rows of one task and one split.
 * @param {Task} task @param {number} count @param {number} seed @param {Split} split
 * @returns {Row[]}
 */
export function rowsOf(task, count, seed, split) {
  const { blends, spelt, confusable } = DRAWN_FOR[split];
  const draw = new Draw(seed, `${task}/${split}`, split, blends, 0, spelt);
  const make = {
    story: storyRow,
    sentiment: sentimentRow,
    question: (/** @type {Draw} */ d) => questionRow(d, MEASURED),
    dialogue: (/** @type {Draw} */ d) => dialogueRow(d, confusable),
    echo: (/** @type {Draw} */ d) => echoRow(d, 0),
  }[task];
  /** @type {Map<string, Row>} */
  const rows = new Map();
  while (rows.size < count) {
    const row = make(draw);
    if (splitOf(row.key) === split) rows.set(row.prompt, row);
  }
  return [...rows.values()];
}

/**
 * The pretraining stream: stories, reviews, questions and echoes of the training split; never a summary.
 * @param {number} count @param {number} seed @param {Stage} [stage]
 * @returns {Generator<Row>}
 */
export function* pretrainingRows(count, seed, stage = 'first') {
  const mix = MIXES[stage];
  const draw = new Draw(seed, 'pretraining', 'train', mix.blends, mix.alike, mix.spelt);
  for (let made = 0; made < count;) {
    const kind = draw.uniform();
    const row = draw.chance(mix.echo)
      ? echoRow(draw, mix.recited)
      : kind < mix.story
        ? storyRow(draw)
        : kind < mix.story + mix.sentiment
          ? sentimentRow(draw)
          : questionRow(draw, mix);
    if (splitOf(row.key) !== 'train') continue;
    made++;
    yield row;
  }
}
