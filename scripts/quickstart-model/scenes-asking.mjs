/**
 * Scenes in which somebody wants something: to borrow, to buy, to learn, to be forgiven.
 * @typedef {import('./dialogues.mjs').Scenario} Scenario
 */
import { COLOURS, DAYS, FOODS, HOURS, OBJECTS, OUTDOORS, SPOTS, a, upper } from './words.mjs';

const thanks = ['Thank you so much!', 'Thank you!', 'That is very kind of you.', 'Thanks a lot!'];

/** @type {Scenario} */
function borrow({ draw, one, two }) {
  const thing = `${draw.pick(COLOURS)} ${draw.pick(OBJECTS)}`;
  const day = draw.pick(DAYS);
  const needs = draw.pick([
    `Can I borrow your ${thing}?`,
    `I need ${a(thing)}. Can you lend me yours?`,
    `Could you lend me your ${thing}, please?`,
  ]);
  const lends = draw.chance(0.7);
  return {
    turns: lends
      ? [
          { who: one, says: needs },
          {
            who: two,
            says: draw.pick([
              'Sure, but when will I get it back?',
              'Yes, but please be careful. I need it back.',
              'Of course. When do you bring it back?',
            ]),
          },
          {
            who: one,
            says: draw.pick([
              `I will bring it back on ${day}.`,
              `You will get it back on ${day}. ${draw.pick(thanks)}`,
            ]),
          },
        ]
      : [
          { who: one, says: needs },
          {
            who: two,
            says: draw.pick([`I am sorry, but I need it on ${day}.`, `No, I am sorry. I need it myself on ${day}.`]),
          },
          { who: one, says: draw.pick(['That is all right.', 'No problem. I will ask somebody else.']) },
        ],
    summary: lends
      ? `${one.name} asks ${two.name} to lend ${one.him} a ${thing}. ${upper(one.he)} will bring it back on ${day}.`
      : `${one.name} wants to borrow a ${thing}, but ${two.name} needs it on ${day}.`,
    questions: [
      [`What does ${one.name} want to borrow?`, thing],
      ['Who wants to borrow something?', one.name],
      ['On which day?', day],
    ],
    roles: lends
      ? [
          [`Who asks for ${a(thing)}?`, one.name],
          [`Who lends the ${thing}?`, two.name],
          ['Who will bring it back?', one.name],
        ]
      : [
          [`Who asks for ${a(thing)}?`, one.name],
          [`Who needs it on ${day}?`, two.name],
        ],
  };
}

/** @type {Scenario} */
function broken({ draw, one, two }) {
  const thing = draw.pick(OBJECTS);
  const day = draw.pick(DAYS);
  const fix = draw.pick(['buy a new one', 'fix it']);
  return {
    turns: [
      { who: one, says: draw.pick(['I have to tell you something.', 'I have bad news.', 'Please do not be angry.']) },
      { who: two, says: draw.pick(['What is wrong?', 'What happened?', 'What is it?']) },
      {
        who: one,
        says: draw.pick([`I broke your ${thing}. I am so sorry.`, `I am sorry, but I broke your ${thing}.`]),
      },
      { who: two, says: draw.pick(['Oh no! I liked it so much.', 'That makes me sad.', 'Well, that can happen.']) },
      { who: one, says: draw.pick([`I will ${fix} on ${day}.`, `I promise that I will ${fix} on ${day}.`]) },
    ],
    summary: `${one.name} says sorry to ${two.name} because ${one.he} broke the ${thing}. ${upper(one.he)} will ${fix} on ${day}.`,
    questions: [
      [`What did ${one.name} break?`, thing],
      [`Who broke the ${thing}?`, one.name],
      [`On which day will ${one.name} ${fix}?`, day],
    ],
    roles: [
      ['Who says sorry?', one.name],
      [`Whose ${thing} is broken?`, two.name],
      [`Who will ${fix}?`, one.name],
      ['Who gets bad news?', two.name],
    ],
  };
}

/** @type {Scenario} */
function search({ draw, one, two }) {
  const thing = draw.pick(OBJECTS);
  const spot = draw.pick(SPOTS);
  return {
    turns: [
      {
        who: one,
        says: draw.pick([
          `I cannot find my ${thing}.`,
          `Have you seen my ${thing}?`,
          `Where is my ${thing}? I looked everywhere.`,
        ]),
      },
      { who: two, says: draw.pick([`I saw it ${spot}.`, `It is ${spot}.`, `I think that it is ${spot}.`]) },
      {
        who: one,
        says: draw.pick([`Yes, there it is! ${draw.pick(thanks)}`, 'You are right, here it is!', draw.pick(thanks)]),
      },
    ],
    summary: `${one.name} cannot find ${one.his} ${thing}. ${two.name} tells ${one.him} that it is ${spot}.`,
    questions: [
      [`What can ${one.name} not find?`, thing],
      [`Where is the ${thing}?`, spot],
      [`Who saw the ${thing}?`, two.name],
    ],
    roles: [
      [`Who cannot find ${a(thing)}?`, one.name],
      [`Who knows where the ${thing} is?`, two.name],
    ],
  };
}

/** @type {Scenario} */
function homework({ draw, one, two }) {
  const hour = draw.pick(HOURS);
  const task = draw.pick(['the homework', 'a letter', 'the garden', 'the kitchen', 'a heavy box', 'the party']);
  return {
    turns: [
      {
        who: one,
        says: draw.pick([
          `I need help with ${task}.`,
          `Can you help me with ${task}?`,
          `Do you have time to help me with ${task}?`,
        ]),
      },
      { who: two, says: draw.pick(['Yes, but not now.', 'Sure. When do you need me?', 'Of course. When can I come?']) },
      { who: one, says: draw.pick([`Can you come at ${hour}?`, `Please come at ${hour}.`]) },
      { who: two, says: draw.pick([`Yes, I will be there.`, `Yes, that is good for me.`, 'I will come.']) },
    ],
    summary: `${one.name} needs help with ${task}. ${two.name} will come and help ${one.him} at ${hour}.`,
    questions: [
      [`Who needs help?`, one.name],
      [`What does ${one.name} need help with?`, task],
      [`When will ${two.name} come?`, hour],
    ],
    roles: [
      [`Who needs help with ${task}?`, one.name],
      [`Who will come and help ${one.name}?`, two.name],
    ],
  };
}

/** @type {Scenario} */
function sale({ draw, one, two }) {
  const thing = `${draw.pick(['old', ...COLOURS])} ${draw.pick(OBJECTS)}`;
  const price = draw.pick(['two', 'three', 'five', 'six', 'eight', 'ten', 'twenty']);
  const agreed = draw.chance(0.65);
  return {
    turns: [
      { who: one, says: draw.pick([`I want to sell my ${thing}.`, `Do you want to buy my ${thing}?`]) },
      { who: two, says: draw.pick(['How much is it?', 'What does it cost?', 'How much do you want for it?']) },
      { who: one, says: draw.pick([`I want ${price} coins for it.`, `It is ${price} coins.`]) },
      {
        who: two,
        says: agreed
          ? draw.pick(['Good, I will take it.', 'That is a good price. I will buy it.'])
          : draw.pick(['That is too much for me.', 'No, I do not have so much money.']),
      },
    ],
    summary: agreed
      ? `${one.name} sells ${one.his} ${thing} to ${two.name} for ${price} coins.`
      : `${one.name} wants to sell ${one.his} ${thing}, but ${price} coins are too much for ${two.name}.`,
    questions: [
      [`What does ${one.name} want to sell?`, thing],
      [`How many coins does ${one.name} want?`, price],
      [`Who wants to sell something?`, one.name],
    ],
    roles: [
      [`Who sells ${a(thing)}?`, one.name],
      agreed ? ['Who buys something?', two.name] : [`For whom are ${price} coins too much?`, two.name],
    ],
  };
}

/** @type {Scenario} */
function lesson({ draw, one, two }) {
  const skill = draw.pick(['swim', 'sing', 'dance', 'cook', 'ride a bike', 'play the guitar']);
  const { at } = draw.pick(OUTDOORS);
  const day = draw.pick(DAYS);
  return {
    turns: [
      {
        who: one,
        says: draw.pick([
          `I want to learn to ${skill}.`,
          `I wish I could ${skill}.`,
          `You can ${skill} so well! I want to learn it too.`,
        ]),
      },
      {
        who: two,
        says: draw.pick(['I can teach you.', 'That is not so hard. I will teach you.', 'Let us try it together.']),
      },
      { who: one, says: draw.pick(['Really? When?', 'That would be great! When can we start?', 'When and where?']) },
      { who: two, says: draw.pick([`On ${day} ${at}.`, `Let us meet ${at} on ${day}.`]) },
    ],
    summary: `${one.name} wants to learn to ${skill}. ${two.name} will teach ${one.him} ${at} on ${day}.`,
    questions: [
      [`What does ${one.name} want to learn?`, skill],
      [`Where do they meet?`, at],
      [`On which day do they meet?`, day],
      ['Who is the teacher?', two.name],
    ],
    roles: [
      [`Who wants to learn to ${skill}?`, one.name],
      [`Who will teach ${one.name}?`, two.name],
    ],
  };
}

/** @type {Scenario} */
function hungry({ draw, one, two }) {
  const food = draw.pick(FOODS);
  const hour = draw.pick(HOURS);
  return {
    turns: [
      { who: one, says: draw.pick(['I am so hungry.', 'I have not eaten today.', 'I am hungry. What is for dinner?']) },
      { who: two, says: draw.pick([`I can make some ${food} for you.`, `Do you want some ${food}? I can make it.`]) },
      {
        who: one,
        says: draw.pick([`Oh yes, I love ${food}! When can we eat?`, 'That would be great. When will it be ready?']),
      },
      { who: two, says: draw.pick([`At ${hour}.`, `We can eat at ${hour}.`, `It will be ready at ${hour}.`]) },
    ],
    summary: `${one.name} is hungry, so ${two.name} will make some ${food} for ${one.him}. They will eat at ${hour}.`,
    questions: [
      ['Who is hungry?', one.name],
      [`What will ${two.name} make?`, food],
      ['When will they eat?', hour],
    ],
    roles: [
      ['Who wants to eat?', one.name],
      [`Who will make some ${food}?`, two.name],
      [`For whom will ${two.name} make it?`, one.name],
    ],
  };
}

/** @type {Scenario} */
function choice({ draw, one, two }) {
  const thing = draw.pick(['coat', 'hat', 'bag', 'scarf', 'bike', 'phone', 'umbrella', 'lamp', 'watch', 'guitar']);
  const [first, second] = /** @type {[string, string]} */ (draw.some(COLOURS, 2));
  const taken = draw.pick([first, second]);
  return {
    turns: [
      { who: one, says: draw.pick([`I want to buy a new ${thing}.`, `I need a new ${thing}.`]) },
      { who: two, says: draw.pick(['Which one do you like?', 'What colour do you want?']) },
      {
        who: one,
        says: draw.pick([
          `I like the ${first} one and the ${second} one.`,
          `Maybe the ${first} one, maybe the ${second} one.`,
        ]),
      },
      {
        who: two,
        says: draw.pick([
          `Take the ${taken} one.`,
          `The ${taken} one is better.`,
          `I think that the ${taken} one is nicer.`,
        ]),
      },
      { who: one, says: draw.pick(['You are right. I will buy it.', 'Good, I will take it.']) },
    ],
    summary: `${one.name} wants to buy a new ${thing}. ${two.name} tells ${one.him} to take the ${taken} one.`,
    questions: [
      [`What does ${one.name} want to buy?`, thing],
      [`Which colour is better?`, taken],
      ['Who wants to buy something?', one.name],
    ],
    roles: [
      [`Who wants a new ${thing}?`, one.name],
      [`Who tells ${one.name} which one to take?`, two.name],
    ],
  };
}

/** Scenes in which a small network confuses the two speakers more often than in the others. */
export const CONFUSABLE_ASKING = [broken, hungry, lesson];
export const ASKING = [borrow, broken, search, homework, sale, lesson, hungry, choice];
