/**
 * Plots of asking, promising, learning and making up. Each gives the middle sentences of a story.
 * @typedef {import('./plots-help.mjs').Plot} Plot
 */
import { DAYS, HOURS, OUTDOORS, a, upper } from './words.mjs';

/** @type {Plot} */
function borrowed({ draw, hero, friend, thing, colour }, meeting) {
  const kept = draw.chance(0.6);
  return [
    `${upper(hero.he)} had a new ${colour} ${thing}.`,
    `One day, ${meeting} came to play.`,
    draw.pick([
      `"Can I borrow your ${thing}?" asked ${friend.name}.`,
      `${friend.name} asked ${hero.him} to lend ${friend.him} the ${thing}.`,
    ]),
    draw.pick([
      `"Yes, but please be careful," said ${hero.name}.`,
      `"Sure, but please bring it back," said ${hero.name}.`,
    ]),
    ...(kept
      ? [
          `${friend.name} promised to be careful and took the ${thing} home.`,
          `On ${draw.pick(DAYS)}, ${friend.he} brought the ${thing} back.`,
          draw.pick([
            `"Thank you for the ${thing}," said ${friend.name}.`,
            `${hero.name} was glad because ${friend.name} had kept the promise.`,
          ]),
        ]
      : [
          `But ${friend.name} broke the ${thing}. ${upper(friend.he)} was very sorry.`,
          `"I am so sorry," said ${friend.name}. "I broke your ${thing}."`,
          draw.pick([
            `"It is all right. We can fix it," said ${hero.name}.`,
            `${hero.name} was angry at first, but then they fixed it together.`,
          ]),
        ]),
  ];
}

/** @type {Plot} */
function birthday({ draw, hero, friend, thing, colour, food, at }, meeting) {
  return [
    draw.pick([`It was ${hero.his} birthday on ${draw.pick(DAYS)}.`, `Today was the birthday of ${hero.name}.`]),
    draw.pick([
      `But nobody came in the morning, and ${hero.name} was lonely.`,
      `${hero.name} invited all ${hero.his} friends to a party ${at}.`,
    ]),
    `At ${draw.pick(HOURS)}, ${meeting} came with a big box.`,
    `"Happy birthday!" said ${friend.name}. "This is for you."`,
    draw.pick([`In the box was a ${colour} ${thing}.`, `${hero.name} opened the box and saw a ${colour} ${thing}.`]),
    draw.pick([
      `"I always wanted ${a(thing)}," said ${hero.name}.`,
      `"What a nice ${thing}! Thank you," said ${hero.name}.`,
    ]),
    `Then they ate ${food} and played games.`,
  ];
}

/** @type {Plot} */
function learn({ draw, hero, friend }, meeting) {
  const [skill, done] = draw.pick([
    ['swim', 'swam'],
    ['sing', 'sang'],
    ['read', 'read'],
    ['ride a bike', 'rode the bike'],
    ['dance', 'danced'],
    ['play the guitar', 'played the guitar'],
    ['cook', 'cooked'],
  ]);
  return [
    draw.pick([
      `${upper(hero.he)} wanted to learn to ${skill}.`,
      `But ${hero.name} could not ${skill}, and that made ${hero.him} sad.`,
    ]),
    `One day, ${hero.he} asked ${meeting} for help.`,
    draw.pick([
      `"Can you teach me to ${skill}?" asked ${hero.name}. "Yes, but you have to try every day," said ${friend.name}.`,
      `"It is too hard for me," said ${hero.name}. "You can do it," said ${friend.name}. "Let us try together."`,
    ]),
    draw.pick([`The first day was hard, and ${hero.name} was tired.`, `At first, ${hero.he} was not good at it.`]),
    draw.pick([`But ${hero.he} tried again and again.`, `But ${hero.he} did not stop, and every day it was better.`]),
    draw.pick([`At last, ${hero.name} ${done} very well.`, `After a week, ${hero.name} could ${skill}.`]),
    `${friend.name} was proud of ${hero.him}.`,
  ];
}

/** @type {Plot} */
function lonely({ draw, hero, friend, at }, meeting) {
  const game = draw.pick([
    'ran and jumped',
    'played with a ball',
    'sang songs',
    'danced and laughed',
    'looked for flowers',
  ]);
  return [
    draw.pick([
      `${hero.name} was lonely because ${hero.he} had no friends.`,
      `${upper(hero.he)} was new here and had no friends.`,
    ]),
    `One day, ${hero.he} saw ${meeting} ${at}.`,
    draw.pick([
      `"Hello, can I play with you?" asked ${hero.name}.`,
      `${hero.name} was shy, but ${hero.he} said hello.`,
    ]),
    draw.pick([`"Yes, of course," said ${friend.name}.`, `"Hello! Do you want to play?" asked ${friend.name}.`]),
    `They ${game} all day.`,
    draw.pick([
      `"Will you come back tomorrow?" asked ${friend.name}.`,
      `"Let us meet again tomorrow," said ${friend.name}.`,
    ]),
    `"Yes, I will," said ${hero.name}.`,
  ];
}

/** @type {Plot} */
function race({ draw, hero, friend, at }, meeting) {
  const { place } = draw.pick(OUTDOORS.filter((spot) => spot.at !== at));
  const slow = draw.chance(0.5);
  return [
    `One day, ${hero.he} met ${meeting} on the road.`,
    `"Let us run to ${place}," said ${friend.name}. "I am faster than you."`,
    ...(slow
      ? [
          `${friend.name} ran very fast, but soon ${friend.he} was tired and sat down.`,
          `${hero.name} was slow, but ${hero.he} did not stop.`,
          `So ${hero.name} won the race.`,
        ]
      : [
          `They ran as fast as they could.`,
          `Then ${friend.name} fell and hurt ${friend.his} leg.`,
          `${hero.name} stopped and helped ${friend.him}, so nobody won the race.`,
        ]),
    slow ? `"Well done," said ${friend.name}.` : `"You are kind," said ${friend.name}. "That is better than winning."`,
  ];
}

/** @type {Plot} */
function build({ draw, hero, friend }, meeting) {
  const what = draw.pick(['a little house', 'a big boat', 'a long table', 'a small garden']);
  const word = what.split(' ').at(-1);
  return [
    draw.pick([`One day, ${hero.he} wanted to make ${what}.`, `"I want to make ${what}," said ${hero.name} one day.`]),
    draw.pick([`But the work was too hard for one.`, `${upper(hero.he)} worked all morning, but it was too much.`]),
    `So ${hero.he} asked ${meeting} to help ${hero.him}.`,
    draw.pick([`"I have time today," said ${friend.name}.`, `${friend.name} agreed and came at ${draw.pick(HOURS)}.`]),
    `They worked together until it was dark.`,
    draw.pick([`At last, the ${word} was ready.`, `It was the best ${word} that they had ever seen.`]),
  ];
}

/** Present tense: what happens every week, and what happened once. @type {Plot} */
function habit({ draw, hero, friend, thing, food, place, at }) {
  const day = draw.pick(DAYS);
  const other = draw.pick(DAYS.filter((name) => name !== day));
  const hour = draw.pick(HOURS);
  const week = draw.pick([
    `${hero.name} asks ${friend.name} to lend ${hero.him} ${a(thing)}. ${friend.name} agrees, and ${hero.name} promises to bring it back on ${other}.`,
    `${hero.name} asks ${friend.name} to help ${hero.him} with the homework. ${friend.name} agrees and comes at ${hour}.`,
    `${hero.name} invites ${friend.name} to ${place}. ${friend.name} promises to come at ${hour} and offers to bring some ${food}.`,
    `${hero.name} wants to play ${at}, but ${friend.name} cannot come because ${friend.he} has to work. So they meet on ${other}.`,
    `${hero.name} tells ${friend.name} a story, and ${friend.name} gives ${hero.him} some ${food}.`,
    `${hero.name} says that ${hero.he} is tired. Then ${friend.name} offers to make ${food} for ${hero.him}.`,
    `${hero.name} buys some ${food} for ${friend.name}, and ${friend.name} thanks ${hero.him}.`,
  ]);
  return [
    `Every ${day}, ${week}`,
    draw.pick([`But last ${day} was different.`, `But last ${day} it rained.`]),
    draw.pick([
      `"Where are you?" asked ${hero.name}. "I am at home because I am ill," said ${friend.name}.`,
      `"Do you want to come to my house?" asked ${friend.name}. "Yes, I would love to," said ${hero.name}.`,
      `"I am sorry that I am late," said ${friend.name}. "I missed the bus."`,
      `"I cannot find my ${thing}," said ${friend.name}. "I saw it ${at}," said ${hero.name}.`,
    ]),
    draw.pick([`After that, they met at ${hour}.`, `So they stayed at home and ate ${food}.`]),
  ];
}

export const SOCIAL_PLOTS = [borrowed, birthday, learn, lonely, race, build, habit];
