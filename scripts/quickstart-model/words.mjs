/**
 * The world of the quickstart model: a few hundred words, so that one small BPE vocabulary has each of them as one
 * token and a small network sees each of them often. Only names (names.mjs) are more than it can memorise.
 * @typedef {import('./draw.mjs').Draw} Draw
 * @typedef {{name: string, he: string, him: string, his: string}} Being
 * @typedef {Being & {kind: string}} Animal
 */
import { firstNames, isFemale } from './names.mjs';

const SHE = { he: 'she', him: 'her', his: 'her' };
const HE = { he: 'he', him: 'him', his: 'his' };

/** Animals that live with people, and animals that stories are about. */
export const PETS = ['cat', 'dog', 'rabbit', 'bird', 'horse', 'duck'];
const KINDS = [...PETS, 'fox', 'bear', 'mouse', 'frog', 'pig', 'goat'];

export const COLOURS = ['red', 'blue', 'green', 'yellow', 'white', 'black', 'brown', 'pink'];

/** Things to carry, lend, lose and find. */
export const OBJECTS = [
  'ball',
  'kite',
  'book',
  'hat',
  'umbrella',
  'bike',
  'drum',
  'lamp',
  'cup',
  'key',
  'boat',
  'doll',
  'bag',
  'box',
  'coat',
  'scarf',
  'pen',
  'map',
  'phone',
  'ring',
  'basket',
  'camera',
  'guitar',
  'watch',
];

export const FOODS = ['cake', 'soup', 'bread', 'pie', 'pizza', 'cheese', 'honey', 'salad', 'rice', 'fish'];

/** With their preposition: `at` is where somebody is, the bare place is where somebody goes. */
export const PLACES = [
  { place: 'the park', at: 'in the park' },
  { place: 'the garden', at: 'in the garden' },
  { place: 'the forest', at: 'in the forest' },
  { place: 'the kitchen', at: 'in the kitchen' },
  { place: 'the library', at: 'in the library' },
  { place: 'the school', at: 'at the school' },
  { place: 'the beach', at: 'at the beach' },
  { place: 'the market', at: 'at the market' },
  { place: 'the farm', at: 'at the farm' },
  { place: 'the lake', at: 'at the lake' },
  { place: 'the river', at: 'at the river' },
  { place: 'the station', at: 'at the station' },
];
export const OUTDOORS = PLACES.filter(({ place }) => !/kitchen|library|school|station|market/.test(place));

/** Spots in or near a room where a small thing hides. */
export const SPOTS = [
  'under the bed',
  'under the table',
  'behind the door',
  'on the chair',
  'in the car',
  'near the window',
];

export const DAYS = ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'];
export const HOURS = ['two', 'three', 'four', 'five', 'six', 'seven', 'eight'].map((hour) => `${hour} o'clock`);
export const SIZES = ['big', 'small', 'little', 'old', 'new'];

/** @param {Draw} draw @param {number} count @returns {Being[]} */
export function people(draw, count) {
  return firstNames(draw, count).map((name) => ({ name, ...(isFemale(name) ? SHE : HE) }));
}

/**
 * @param {Draw} draw @param {number} count @param {readonly string[]} [kinds] @param {readonly Being[]} [beings] whose
 * names they get @returns {Animal[]}
 */
export function animals(draw, count, kinds = KINDS, beings = people(draw, count)) {
  const chosen = draw.some(kinds, count);
  return beings.slice(0, count).map((being, i) => ({ ...being, kind: /** @type {string} */ (chosen[i]) }));
}

/** "a cat", "an old cat". @param {string} phrase */
export function a(phrase) {
  return `${/^[aeiou]/.test(phrase) ? 'an' : 'a'} ${phrase}`;
}

/** First letter in upper case. @param {string} sentence */
export function upper(sentence) {
  return sentence.charAt(0).toUpperCase() + sentence.slice(1);
}
