/**
 * Plots of trouble and help. Each takes the cast and a phrase that introduces the friend, and gives the middle
 * sentences.
 * @typedef {import('./stories.mjs').Cast} Cast
 * @typedef {(cast: Cast, meeting: string) => string[]} Plot
 */
import { OUTDOORS, a, upper } from './words.mjs';

/** @type {Plot} */
function lost({ draw, hero, friend, thing, colour, at }, meeting) {
  const spot = draw.pick(['under a tree', 'behind a rock', 'in the grass', 'near the road', 'behind a house']);
  return [
    draw.pick([
      `${upper(hero.he)} had a ${colour} ${thing}.`,
      `${upper(hero.he)} loved ${hero.his} ${colour} ${thing}.`,
    ]),
    draw.pick([
      `But one day the ${thing} was gone.`,
      `One day ${hero.he} lost the ${thing} ${at}.`,
      `One morning ${hero.he} could not find it.`,
    ]),
    draw.pick([
      `${hero.name} was sad and began to cry.`,
      `${hero.name} looked everywhere, but the ${thing} was not there.`,
    ]),
    `Then ${hero.he} met ${meeting} ${at}.`,
    draw.pick([`"Why are you sad?" asked ${friend.name}.`, `"What is wrong?" asked ${friend.name}.`]),
    `"I lost my ${thing}," said ${hero.name}.`,
    draw.pick([`"I will help you," said ${friend.name}.`, `"Let us look together," said ${friend.name}.`]),
    draw.pick([
      `${friend.name} found the ${thing} ${spot}.`,
      `They looked for a long time. At last, ${friend.name} saw the ${colour} ${thing} ${spot}.`,
    ]),
    draw.pick([`"Thank you!" said ${hero.name}.`, `${hero.name} thanked ${friend.name} for the help.`]),
  ];
}

/** @type {Plot} */
function stuck({ draw, hero, friend, at }, meeting) {
  const [how, out] = draw.pick([
    ['fell into a deep hole', 'pulled'],
    ['climbed a tall tree and could not come down', 'helped'],
    ['fell into the cold water', 'pulled'],
    ['got stuck in the mud', 'pulled'],
  ]);
  const tool = draw.pick(['a long stick', 'a rope', 'a big leaf', 'an old box']);
  return [
    `One day, ${hero.he} ${how}.`,
    draw.pick([`"Help! Help!" ${hero.he} cried.`, `${upper(hero.he)} was very scared and called for help.`]),
    draw.pick([`${upper(meeting)} heard ${hero.him}.`, `${upper(meeting)} was ${at} and came to see.`]),
    draw.pick([`"Do not be scared," said ${friend.name}.`, `"Wait, I will help you," said ${friend.name}.`]),
    `${friend.name} found ${tool} and ${out} ${hero.name} ${out === 'helped' ? 'to come down' : 'out'}.`,
    draw.pick([
      `"You saved me! Thank you," said ${hero.name}.`,
      `${hero.name} was safe again and thanked ${friend.name}.`,
    ]),
    draw.pick([`After that, ${hero.he} was more careful.`, `${upper(hero.he)} learned to be careful.`]),
  ];
}

/** @type {Plot} */
function storm({ draw, hero, friend, thing, at }, meeting) {
  const { place } = draw.pick(OUTDOORS.filter((spot) => spot.at !== at));
  const weather = draw.pick(['rain', 'snow']);
  return [
    draw.pick([`One day, ${hero.he} went to ${place}.`, `${upper(hero.he)} wanted to walk to ${place}.`]),
    `Soon the sky was dark and it began to ${weather}.`,
    draw.pick([`The wind was strong and ${hero.name} was cold.`, `${hero.name} was cold and wet.`]),
    `${upper(hero.he)} saw a small house. ${upper(meeting)} opened the door.`,
    `"Come in," said ${friend.name}. "You can stay here because it is warm."`,
    draw.pick([
      `${friend.name} gave ${hero.him} hot tea and a warm coat.`,
      `They sat near the fire and drank hot tea.`,
    ]),
    `When the ${weather} stopped, ${hero.name} went home. The next day, ${hero.he} gave ${friend.name} ${a(thing)} to say thank you.`,
  ];
}

/** @type {Plot} */
function hungry({ draw, hero, friend, food, at }, meeting) {
  return [
    draw.pick([
      `One day, ${hero.name} had some ${food} for lunch.`,
      `${upper(hero.he)} made some ${food} and sat down ${at}.`,
    ]),
    `Then ${meeting} came by. ${friend.name} looked very hungry.`,
    draw.pick([
      `"May I have some of your ${food}?" asked ${friend.name}.`,
      `"I am so hungry," said ${friend.name}. "I have not eaten today."`,
    ]),
    draw.pick([
      `"Yes, you can have half," said ${hero.name}.`,
      `At first, ${hero.name} wanted to eat it all. But then ${hero.he} gave half of it to ${friend.name}.`,
    ]),
    draw.pick([`They ate the ${food} together.`, `The ${food} was good, and they ate it all.`]),
    draw.pick([`${hero.name} learned that it is good to share.`, `"It is better to share," said ${hero.name}.`]),
  ];
}

/** @type {Plot} */
function dark({ draw, hero, friend, colour }, meeting) {
  return [
    draw.pick([
      `But ${hero.name} was scared of the dark.`,
      `At night, ${hero.he} could not sleep because the dark scared ${hero.him}.`,
    ]),
    `One evening, ${meeting} came to visit.`,
    draw.pick([`"Why do you not sleep?" asked ${friend.name}.`, `"Are you scared?" asked ${friend.name}.`]),
    `"I am scared of the dark," said ${hero.name}.`,
    `So ${friend.name} gave ${hero.him} a small ${colour} lamp.`,
    draw.pick([`"Now you have a little light," said ${friend.name}.`, `The lamp was warm and bright.`]),
    `After that, ${hero.name} was not scared any more.`,
  ];
}

/** @type {Plot} */
function sick({ draw, hero, friend, food, thing }, meeting) {
  return [
    draw.pick([`One day, ${hero.name} was ill and had to stay in bed.`, `One morning, ${hero.name} felt ill.`]),
    draw.pick([
      `${upper(hero.he)} was sad because ${hero.he} could not go out to play.`,
      `${upper(hero.his)} head was hot and ${hero.he} was tired.`,
    ]),
    `Then ${meeting} came to see ${hero.him}.`,
    draw.pick([
      `"I made some ${food} for you," said ${friend.name}.`,
      `"I brought you some ${food}," said ${friend.name}.`,
    ]),
    draw.pick([
      `${friend.name} also gave ${hero.him} ${a(thing)} to play with.`,
      `${friend.name} read ${hero.him} a story from a book.`,
    ]),
    `The next day, ${hero.name} felt better and could play again.`,
  ];
}

/** @type {Plot} */
function found({ draw, hero, friend, thing, colour, at }, meeting) {
  return [
    `One day, ${hero.he} found a ${colour} ${thing} ${at}.`,
    draw.pick([
      `${upper(hero.he)} wanted to keep it because it was so nice.`,
      `"Who lost this ${thing}?" ${hero.he} asked.`,
    ]),
    `Then ${hero.he} saw ${meeting} who was crying.`,
    `"I lost my ${thing}. It is ${colour}," said ${friend.name}.`,
    draw.pick([
      `"I found it. Here you are," said ${hero.name}.`,
      `So ${hero.name} gave the ${thing} back to ${friend.name}.`,
    ]),
    draw.pick([`${friend.name} was so happy and thanked ${hero.him}.`, `"You are very kind," said ${friend.name}.`]),
  ];
}

export const HELP_PLOTS = [lost, stuck, storm, hungry, dark, sick, found];
