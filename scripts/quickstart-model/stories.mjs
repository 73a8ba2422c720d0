/**
 * Short stories: an opening, one of many plots with cause and effect, an ending.
 * @typedef {import('./draw.mjs').Draw} Draw
 * @typedef {import('./words.mjs').Being & {kind?: string}} Hero
 * @typedef {{draw: Draw, hero: Hero, friend: Hero, thing: string, colour: string, food: string, at: string, place:
 * string}} Cast
 */
import { COLOURS, FOODS, OBJECTS, OUTDOORS, SIZES, a, animals, people, upper } from './words.mjs';
import { HELP_PLOTS } from './plots-help.mjs';
import { SOCIAL_PLOTS } from './plots-social.mjs';

/** @param {Cast} cast */
function opening({ draw, hero, at, place }) {
  const once = draw.pick(['Once upon a time', 'Long ago', 'Once']);
  const mood = draw.pick(['happy', 'kind', 'brave', 'clever', 'quiet', 'funny']);
  if (hero.kind === undefined) {
    return draw.pick([
      `${once}, there was a ${mood} child named ${hero.name}.`,
      `${hero.name} was a ${mood} child who lived near ${place}.`,
      `${hero.name} often played ${at}.`,
      `${hero.name} liked to play ${at}.`,
    ]);
  }
  const who = a(`${draw.pick([mood, ...SIZES.slice(0, 3)])} ${hero.kind}`);
  return draw.pick([
    `${once}, there was ${who} named ${hero.name}.`,
    `${once}, ${who} named ${hero.name} lived near ${place}.`,
    `There was once ${who}. ${upper(hero.his)} name was ${hero.name}.`,
    `${hero.name} was ${who} who lived near ${place}.`,
  ]);
}

/** @param {Cast} cast */
function meeting({ draw, friend }) {
  if (friend.kind === undefined)
    return `a ${draw.pick(['child', 'kind child', friend.he === 'he' ? 'boy' : 'girl'])} named ${friend.name}`;
  return draw.pick([`a ${friend.kind} named ${friend.name}`, `${friend.name} the ${friend.kind}`]);
}

/** A remark is left out where somebody has just spoken. @param {Cast} cast @param {string} before */
function ending({ draw, hero, friend }, before) {
  const remarks = [
    `"You are a good friend," said ${hero.name}.`,
    `"I am glad that we are friends," said ${friend.name}.`,
  ];
  return draw.pick([
    ...(before.includes('"') ? [] : remarks),
    'They were happy and played until the evening.',
    `From that day on, ${hero.name} and ${friend.name} were good friends.`,
    `${hero.name} smiled and felt very happy.`,
    `That night, ${hero.name} slept well and dreamed of ${friend.name}.`,
    'They laughed and went home together.',
    `${hero.name} told the story to everyone at home.`,
    `${friend.name} smiled, and ${hero.name} smiled too.`,
  ]);
}

/** @param {Draw} draw @returns {Cast} */
function cast(draw) {
  const spot = draw.pick(OUTDOORS);
  const [person, other] = people(draw, 2);
  const [animal, second] = animals(draw, 2);
  const pairs = [
    [person, animal],
    [animal, second],
    [animal, person],
    [person, other],
  ];
  const [hero, friend] = /** @type {[Hero, Hero]} */ (draw.pick(pairs));
  const drawn = { colour: draw.pick(COLOURS), thing: draw.pick(OBJECTS), food: draw.pick(FOODS) };
  return { draw, hero, friend, ...drawn, at: spot.at, place: spot.place };
}

const PLOTS = [...HELP_PLOTS, ...SOCIAL_PLOTS];

/** One story in one paragraph. @param {Draw} draw */
export function story(draw) {
  const roles = cast(draw);
  const plot = draw.pick(PLOTS)(roles, meeting(roles));
  return [opening(roles), ...plot, ending(roles, plot.at(-1) ?? '')].join(' ');
}
