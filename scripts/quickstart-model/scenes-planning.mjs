/**
 * Scenes about days and places: invitations, changed plans, presents, illness, pets.
 * @typedef {import('./dialogues.mjs').Scenario} Scenario
 */
import { DAYS, FOODS, HOURS, OBJECTS, OUTDOORS, PETS, PLACES, a, animals, upper } from './words.mjs';

const REASONS = [
  ['I have to work', 'has to work'],
  ['I am ill', 'is ill'],
  ['I have to help my mother', 'has to help'],
  ['I have to clean my room', 'has to clean'],
  ['I am too tired', 'is too tired'],
];

/** @type {Scenario} */
function invitation({ draw, one, two }) {
  const { place, at } = draw.pick(PLACES);
  const [day, hour] = [draw.pick(DAYS), draw.pick(HOURS)];
  const [reason, told] = /** @type {[string, string]} */ (draw.pick(REASONS));
  const comes = draw.chance(0.6);
  const asks = draw.pick([
    `Do you want to come to ${place} on ${day}?`,
    `I am going to ${place} on ${day}. Do you want to come?`,
    `Let us meet ${at} on ${day}.`,
  ]);
  return {
    turns: comes
      ? [
          { who: one, says: asks },
          {
            who: two,
            says: draw.pick([
              'I would love to. At what time?',
              'Yes, great! When do we meet?',
              'That is a good idea. When?',
            ]),
          },
          { who: one, says: draw.pick([`At ${hour}.`, `Let us meet at ${hour}.`, `Is ${hour} good for you?`]) },
          { who: two, says: draw.pick(['Good, I will be there.', 'Yes, I will come.']) },
        ]
      : [
          { who: one, says: asks },
          { who: two, says: draw.pick([`I am sorry, but ${reason}.`, `I would love to, but ${reason}.`]) },
          { who: one, says: draw.pick(['Maybe next time.', 'What a pity.', 'That is all right.']) },
        ],
    summary: comes
      ? `${one.name} invites ${two.name} to ${place} on ${day}. They will meet at ${hour}.`
      : `${one.name} invites ${two.name} to ${place} on ${day}, but ${two.he} ${told}.`,
    questions: [
      [`Who invited ${two.name}?`, one.name],
      ['Where do they want to go?', place],
      ['On which day?', day],
      ...(comes ? [/** @type {[string, string]} */ (['At what time?', hour])] : []),
    ],
    roles: [
      ['Who invites somebody?', one.name],
      ['Who is invited?', two.name],
      comes ? [`Who will meet ${one.name}?`, two.name] : [`Who ${told}?`, two.name],
    ],
  };
}

/** @type {Scenario} */
function late({ draw, one, two }) {
  const hour = draw.pick(HOURS);
  const [cause, told] = /** @type {[string, string]} */ (
    draw.pick([
      ['I missed the bus', 'missed the bus'],
      ['I lost my key', 'lost the key'],
      ['I slept too long', 'slept too long'],
      ['my bike is broken', 'has a broken bike'],
    ])
  );
  return {
    turns: [
      { who: two, says: draw.pick(['Where are you? I am waiting for you.', 'When will you be here?']) },
      { who: one, says: draw.pick([`I am sorry, ${cause}.`, `I will be late because ${cause}.`]) },
      {
        who: two,
        says: draw.pick(['When can you be here?', 'How long do I have to wait?', 'And when will you come?']),
      },
      { who: one, says: draw.pick([`I will be there at ${hour}.`, `I will come at ${hour}.`]) },
    ],
    summary: `${one.name} is late because ${one.he} ${told}. ${two.name} waits for ${one.him} until ${hour}.`,
    questions: [
      ['Who is late?', one.name],
      ['Who is waiting?', two.name],
      [`When will ${one.name} come?`, hour],
    ],
    roles: [
      [`Who ${told}?`, one.name],
      [`Who waits for ${one.name}?`, two.name],
      [`For whom does ${two.name} wait?`, one.name],
      [`Who will be there at ${hour}?`, one.name],
    ],
  };
}

/** @type {Scenario} */
function moved({ draw, one, two }) {
  const [from, to] = /** @type {[string, string]} */ (draw.some(DAYS, 2));
  const [reason, told] = /** @type {[string, string]} */ (draw.pick(REASONS));
  return {
    turns: [
      { who: one, says: draw.pick([`I cannot meet you on ${from}.`, `I am sorry, I cannot come on ${from}.`]) },
      { who: two, says: draw.pick(['Oh, why not?', 'Why?', 'What a pity! Why not?']) },
      { who: one, says: `${upper(reason)}.` },
      { who: two, says: draw.pick([`Then let us meet on ${to}.`, `Can you come on ${to}?`]) },
      { who: one, says: draw.pick(['Yes, that is better.', 'Yes, that is good for me.']) },
    ],
    summary: `${one.name} cannot meet ${two.name} on ${from} because ${one.he} ${told}. They will meet on ${to}.`,
    questions: [
      [`On which day can ${one.name} not come?`, from],
      ['On which day will they meet?', to],
      ['Who cannot come?', one.name],
    ],
    roles: [
      [`Who ${told}?`, one.name],
      [`Who cannot meet ${two.name}?`, one.name],
      [`Who asks for ${to}?`, two.name],
    ],
  };
}

/** @type {Scenario} */
function present({ draw, one, two, third }) {
  const [day, thing] = [draw.pick(DAYS), draw.pick(OBJECTS)];
  return {
    turns: [
      {
        who: one,
        says: draw.pick([`It is the birthday of ${third.name} on ${day}.`, `${third.name} has a birthday on ${day}.`]),
      },
      {
        who: two,
        says: draw.pick([`What can we give ${third.him}?`, 'What can we buy?', `What does ${third.he} like?`]),
      },
      {
        who: one,
        says: draw.pick([
          `I think that ${third.he} needs ${a(thing)}.`,
          `${upper(third.he)} always wanted ${a(thing)}.`,
          `Maybe ${a(thing)}?`,
        ]),
      },
      { who: two, says: draw.pick(['Good idea! Let us buy it together.', 'Yes, let us buy it.']) },
    ],
    summary: `${one.name} and ${two.name} will buy ${a(thing)} for ${third.name} because ${third.his} birthday is on ${day}.`,
    questions: [
      ['Who has a birthday?', third.name],
      ['On which day is the birthday?', day],
      ['What do they want to buy?', thing],
    ],
    roles: [
      [`Who knows when the birthday is?`, one.name],
      [`With whom will ${one.name} buy ${a(thing)}?`, two.name],
    ],
  };
}

/** @type {Scenario} */
function weather({ draw, one, two }) {
  const [outside, day] = [draw.pick(OUTDOORS), draw.pick(DAYS)];
  const inside = draw.pick(PLACES.filter(({ place }) => /kitchen|library|school|market|station/.test(place)));
  const it = draw.pick(['rain', 'snow']);
  return {
    turns: [
      {
        who: one,
        says: draw.pick([`Do we go to ${outside.place} on ${day}?`, `I want to go to ${outside.place} on ${day}.`]),
      },
      { who: two, says: draw.pick([`But it will ${it}.`, `I heard that it will ${it}.`]) },
      { who: one, says: draw.pick(['Oh no! What can we do?', 'That is bad. Do you have a better idea?']) },
      { who: two, says: draw.pick([`Let us go to ${inside.place}.`, `We can meet ${inside.at}.`]) },
    ],
    summary: `It will ${it} on ${day}, so ${one.name} and ${two.name} will go to ${inside.place} and not to ${outside.place}.`,
    questions: [
      ['Where will they go?', inside.place],
      [`Where does ${one.name} want to go?`, outside.place],
      [`On which day will it ${it}?`, day],
    ],
    roles: [
      [`Who wants to go to ${outside.place}?`, one.name],
      [`Who knows that it will ${it}?`, two.name],
    ],
  };
}

/** @type {Scenario} */
function ill({ draw, one, two }) {
  const [pain, told] = /** @type {[string, string]} */ (
    draw.pick([
      ['I am ill', 'is ill'],
      ['I hurt my leg', 'hurt a leg'],
      ['I hurt my hand', 'hurt a hand'],
      ['I feel so cold', 'feels cold'],
    ])
  );
  const food = draw.pick(FOODS);
  const thing = draw.pick(OBJECTS);
  const gift = draw.pick([`some ${food}`, a(thing)]);
  return {
    turns: [
      { who: two, says: draw.pick(['Are you all right?', 'What is wrong with you?', 'You look so tired.']) },
      { who: one, says: draw.pick([`${pain}. I have to stay in bed.`, `${pain}, and I have to stay at home.`]) },
      { who: two, says: draw.pick([`I will bring you ${gift}.`, `I can come and bring you ${gift}.`]) },
      { who: one, says: draw.pick(['That is very kind of you.', 'Thank you, you are a good friend.']) },
    ],
    summary: `${one.name} ${told} and has to stay at home. ${two.name} will bring ${one.him} ${gift}.`,
    questions: [
      ['Who has to stay at home?', one.name],
      [`What will ${two.name} bring?`, gift],
    ],
    roles: [
      [`Who ${told}?`, one.name],
      [`Who will bring ${gift}?`, two.name],
      [`To whom will ${two.name} bring ${gift}?`, one.name],
    ],
  };
}

/** @type {Scenario} */
function feeding({ draw, one, two }) {
  const [pet] = /** @type {[import('./words.mjs').Animal]} */ (animals(draw, 1, PETS));
  const { at } = draw.pick(OUTDOORS);
  const day = draw.pick(DAYS);
  return {
    turns: [
      {
        who: one,
        says: draw.pick([`I will be ${at} until ${day}.`, `I am going away. I will be ${at} until ${day}.`]),
      },
      { who: two, says: draw.pick([`And who feeds your ${pet.kind}?`, `What about your ${pet.kind} ${pet.name}?`]) },
      { who: one, says: draw.pick([`Can you feed ${pet.name}?`, `Could you please feed ${pet.name}?`]) },
      { who: two, says: draw.pick(['Sure, no problem.', 'Yes, of course.', `Of course, I love your ${pet.kind}.`]) },
    ],
    summary: `${one.name} asks ${two.name} to feed the ${pet.kind} ${pet.name} because ${one.he} is ${at} until ${day}.`,
    questions: [
      [`What is the name of the ${pet.kind}?`, pet.name],
      [`Who has a ${pet.kind}?`, one.name],
      [`Where will ${one.name} be?`, at],
      [`Who will feed ${pet.name}?`, two.name],
    ],
    roles: [
      [`Who will be ${at}?`, one.name],
      [`Who is asked to feed the ${pet.kind}?`, two.name],
    ],
  };
}

/** @type {Scenario} */
function runaway({ draw, one, two }) {
  const [pet] = /** @type {[import('./words.mjs').Animal]} */ (animals(draw, 1, PETS));
  const { at } = draw.pick(PLACES);
  return {
    turns: [
      {
        who: one,
        says: draw.pick([`My ${pet.kind} ${pet.name} ran away.`, `I cannot find my ${pet.kind} ${pet.name}.`]),
      },
      { who: two, says: draw.pick([`I saw a ${pet.kind} ${at}.`, `There is a ${pet.kind} ${at}.`]) },
      { who: one, says: draw.pick([`That must be ${pet.name}!`, 'Really? Please come with me.']) },
      { who: two, says: draw.pick(['Come, let us go and look.', 'Let us go there together.']) },
    ],
    summary: `${one.name} is looking for the ${pet.kind} ${pet.name}. ${two.name} saw ${pet.him} ${at}.`,
    questions: [
      [`What is the name of the ${pet.kind}?`, pet.name],
      [`Where did ${two.name} see the ${pet.kind}?`, at],
      ['Who lost a pet?', one.name],
    ],
    roles: [
      [`Who is looking for ${pet.name}?`, one.name],
      [`Who saw a ${pet.kind}?`, two.name],
    ],
  };
}

/** Scenes that begin with the other speaker than their summaries do. */
export const CONFUSABLE_PLANNING = [late, ill];
export const PLANNING = [invitation, late, moved, present, weather, ill, feeding, runaway];
