/**
 * First names, more than a small network can memorise: it has to copy them from its text. Some are real, most are built
 * of syllables, and one in eight, by a hash of the name, is held out: no row of training has it, and rows that are held
 * out have no other.
 * @typedef {import('./draw.mjs').Draw} Draw
 */
import { readFileSync } from 'node:fs';
import { hash } from './draw.mjs';

const HELD_OUT_ONE_IN = 8;

const REAL =
  `Aaron Abel Ada Adam Adele Agnes Aisha Alan Albert Alfred Alice Alina Amara Amelia Amina Amir Amy Ana Anders Andre Andrea Anita Anna Anton
Arthur Astrid Aurora Axel Bart Beatrice Ben Bella Bernard Bianca Bjorn Boris Bruce Bruno Camila Carl Carla Carlos Carmen Cecilia Chiara Chris
Clara Claire Clement Cora Cyril Dan Daniel Dara David Dean Dennis Diana Diego Dina Dmitri Dora Dylan Edgar Edith Edward Elena Eli Elias Elsa
Emil Emily Emma Erik Ernest Esther Ethan Eva Fabian Farid Fatima Felix Fiona Flora Florian Frank Fred Freya Gemma George Gina Giulia Greta
Gustav Hanna Hans Harold Harry Hassan Heidi Helen Helena Henry Hilda Hiro Hugo Ian Ida Igor Ines Ingrid Irene Iris Isaac Isabel Ivan Ivy Jack
Jacob James Jamila Jan Jane Jasmin Jean Jenny Joan Joel John Jonas Jorge Josef Judith Julia Julian Karim Karin Karl Kate Kenji Kevin Kira
Klaus Kofi Lara Lars Laura Leila Lena Leo Leon Liam Lily Linda Lisa Lola Louis Lucas Lucy Luis Luna Magnus Maja Manuel Marco Maria Marie
Mario Marta Martin Mary Matteo Max Maya Mehmet Mia Mila Milan Mina Miriam Moritz Nadia Nana Nathan Nelly Nick Nicole Nina Noah Noel Nora
Olga Oliver Olivia Omar Oscar Oskar Otto Pablo Paul Paula Pedro Penny Peter Petra Philip Pia Priya Rachel Rafael Ralph Ravi Rita Robert
Robin Rohan Roman Rosa Ruby Ruth Sally Sam Samir Samuel Sandra Sara Sasha Sean Selma Simon Sofia Sonia Stella Steven Susan Sven Tania Tara
Theo Thomas Tilda Tim Tobias Tom Tomas Tony Tracy Uma Una Ursula Valerie Vera Victor Vincent Viola Walter Wanda William Yara Yasmin Yuki
Yusuf Zara Zoe`.split(/\s+/);

const STARTS = [
  ...'BCDFGHJKLMNPRSTVWYZ',
  ...'BDKLMNRST',
  'Br',
  'Ch',
  'Cl',
  'Dr',
  'Fl',
  'Fr',
  'Gr',
  'Kr',
  'Pr',
  'Sh',
  'St',
  'Th',
  'Tr',
];
const MIDDLES = [
  ...'bcdfgjklmnprstvz',
  ...'lmnrst',
  'll',
  'mm',
  'nn',
  'rr',
  'ss',
  'tt',
  'ld',
  'nd',
  'rd',
  'rl',
  'rt',
  'sh',
  'th',
];
const VOWELS = [...'aaaaeeeiiiioou', 'ai', 'ei', 'ia'];
const ENDS = ['', '', '', '', '', 'n', 'n', 'l', 'r', 's', 'k', 'm', 'd', 't'];
/** What is written the same at the head of a sentence is no name. */
const WORDS =
  /^(?:Can|Let|But|See|How|She|The|Tea|Was|Far|Sun|Men|Man|Boat|Bear|Cat|Dog|Fox|Hot|Red|Bed|Bad|Get|Sit|Cut|Dear|Then|Them|That|This|There|What|When|Where|Who|Which|Take|Come|Make|Give|Good|Sad|Not|Now|Soon|Last|Long|Sat|Mud|Mat|Box|Fun|Did|Does|Do|Hat|Her|His|Him|Had|Has|Here|Dead|Shed|Sick|Thick)$/;

/** @param {Draw} draw */
function built(draw) {
  const start = draw.chance(0.12) ? '' : draw.pick(STARTS);
  let name = start + draw.pick(VOWELS);
  for (let more = draw.pick([0, 1, 1, 1, 1, 2]); more > 0; more--) name += draw.pick(MIDDLES) + draw.pick(VOWELS);
  if (!/[aeiou]{2}$/.test(name) || draw.chance(0.3)) name += draw.pick(ENDS);
  return name.charAt(0).toUpperCase() + name.slice(1);
}

/** The head of one real name and the tail of another: like real ones, and without end. @param {Draw} draw */
function blended(draw) {
  const [one, two] = [draw.pick(TRAINED), draw.pick(TRAINED)];
  return one.slice(0, 1 + draw.below(Math.min(4, one.length - 1))) + two.slice(1 + draw.below(two.length - 1));
}

/**
 * A name shorter or longer at its end, with another end, or with one letter changed. @param {Draw} draw @param {string}
 * name
 */
function altered(draw, name) {
  const keep = 1 + draw.below(name.length - 1);
  const kind = draw.uniform();
  if (kind < 0.2) return name.slice(0, -1 - draw.below(2));
  if (kind < 0.4) return name + (/[aeiou]$/.test(name) ? draw.pick(ENDS) : draw.pick(VOWELS));
  if (kind < 0.8) return name.slice(0, keep) + draw.pick(TRAINED).slice(1);
  return name.slice(0, keep) + draw.pick(/[aeiou]/.test(name.charAt(keep)) ? VOWELS : MIDDLES) + name.slice(keep + 1);
}

/** @type {{heads: string[], tails: string[]} | undefined} */
let nameTokens;

/**
 * Tokens of the vocabulary that a name can begin with, and those that can follow in it. Read when first needed: the
 * vocabulary itself is made from text without such names.
 */
function tokensOfNames() {
  if (nameTokens === undefined) {
    const file = new URL('../../configs/quickstart/base/tokenizer.json', import.meta.url);
    const vocabulary = Object.keys(JSON.parse(readFileSync(file, 'utf8')).model.vocab);
    nameTokens = {
      heads: vocabulary.filter((token) => /^[A-Z][a-z]{0,2}$/.test(token)),
      tails: vocabulary.filter((token) => /^[a-z]{1,4}$/.test(token)),
    };
  }
  return nameTokens;
}

/**
 * A name of two to four tokens, each drawn with equal probability: the network learns to copy tokens that are rare in
 * all other names. @param {Draw} draw
 */
function spelt(draw) {
  const { heads, tails } = tokensOfNames();
  let name = draw.pick(heads);
  for (let more = draw.pick([1, 2, 2, 3]); more > 0; more--) name += draw.pick(tails);
  return name;
}

/** @param {string} name @returns {'train' | 'held-out'} */
export function splitOfName(name) {
  return hash(`name/${name}`) % HELD_OUT_ONE_IN === 0 ? 'held-out' : 'train';
}

const TRAINED = REAL.filter((name) => splitOfName(name) === 'train');

/** `count` different names of the split that is drawn for. @param {Draw} draw @param {number} count */
export function firstNames(draw, count) {
  /** @type {Set<string>} */
  const names = new Set();
  while (names.size < count) {
    const other =
      names.size > 0 && draw.alike > 0 && draw.chance(draw.alike) ? altered(draw, draw.pick([...names])) : undefined;
    const name = other ?? freshName(draw);
    if (name.length > 2 && name.length < 10 && !WORDS.test(name) && splitOfName(name) === draw.split) names.add(name);
  }
  return [...names];
}

/** @param {Draw} draw */
function freshName(draw) {
  if (draw.spelt > 0 && draw.chance(draw.spelt)) return spelt(draw);
  return draw.blends > 0 && draw.chance(draw.blends) ? blended(draw) : draw.chance(0.4) ? draw.pick(REAL) : built(draw);
}

/**
 * A name that ends in a vowel or y is a woman's here, any other a man's: what the network can learn of a name it has
 * not seen. @param {string} name
 */
export function isFemale(name) {
  return /[aeiouy]$/.test(name) && !/o$/.test(name);
}
