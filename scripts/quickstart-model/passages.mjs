/**
 * Short passages made of facts, each fact with the questions it answers. Every answer stands in its passage word for
 * word, and the other facts are of the same kinds, so that the question has to be read.
 * @typedef {import('./draw.mjs').Draw} Draw
 * @typedef {{question: string, answer: string}} Question
 * @typedef {{text: string, questions: Question[]}} Fact
 * @typedef {ReturnType<typeof pool>} Pool
 */
import { COLOURS, DAYS, FOODS, HOURS, OBJECTS, PETS, PLACES, SPOTS, a, animals, people, upper } from './words.mjs';

const COATS = ['white', 'black', 'brown', 'yellow', 'red'];

/** Words for one passage, each handed out once: no question is about two facts. @param {Draw} draw */
function pool(draw) {
  /** @template T @param {readonly T[]} list */
  const bag = (list) => {
    const rest = draw.shuffled(list);
    return () => /** @type {T} */ (rest.pop());
  };
  const beings = people(draw, 9);
  return {
    draw,
    pets: animals(draw, 2, PETS, beings),
    person: bag(beings.slice(2)),
    thing: bag(OBJECTS),
    food: bag(FOODS),
    spot: bag(PLACES),
    corner: bag(SPOTS),
    colour: bag(COLOURS),
    coat: bag(COATS),
    day: bag(DAYS),
    hour: bag(HOURS),
  };
}

/** `[question, answer]` pairs. @param {string} text @param {[string, string][]} pairs @returns {Fact} */
function fact(text, pairs) {
  return { text, questions: pairs.map(([question, answer]) => ({ question, answer })) };
}

/** @param {Pool} from */
function pets({ draw, pets: [one, two], person, coat }) {
  if (one === undefined || two === undefined) throw new RangeError('two pets are needed');
  const [owner, other, first, second] = [person(), person(), coat(), coat()];
  const text = draw.pick([
    `${owner.name} has a ${first} ${one.kind} named ${one.name} and a ${second} ${two.kind} named ${two.name}.`,
    `${owner.name} has a ${first} ${one.kind}. The ${one.kind} is named ${one.name}. ${other.name} has a ${second} ${two.kind} named ${two.name}.`,
    `A ${first} ${one.kind} named ${one.name} lives with ${owner.name}. A ${second} ${two.kind} named ${two.name} lives there too.`,
  ]);
  return fact(text, [
    [`What is the name of the ${one.kind}?`, one.name],
    [`What is the name of the ${two.kind}?`, two.name],
    [`What colour is the ${one.kind}?`, first],
    [`What colour is ${two.name}?`, second],
    [`Who has a ${one.kind}?`, owner.name],
    [`What kind of animal is ${two.name}?`, two.kind],
  ]);
}

/** @param {Pool} from */
function trips({ draw, person, spot, day, hour }) {
  const [one, two, here, there, when, time] = [person(), person(), spot(), spot(), day(), hour()];
  const text = draw.pick([
    `On ${when}, ${one.name} went to ${here.place}, and ${two.name} went to ${there.place} at ${time}.`,
    `${one.name} went to ${here.place} on ${when}, but ${two.name} went to ${there.place} at ${time}.`,
    `${two.name} went to ${there.place} at ${time}. ${one.name} went to ${here.place} on ${when}.`,
  ]);
  return fact(text, [
    [`Where did ${one.name} go?`, here.place],
    [`Where did ${two.name} go?`, there.place],
    [`On which day was the trip of ${one.name}?`, when],
    [`At what time did ${two.name} go?`, time],
    [`Who went to ${there.place}?`, two.name],
  ]);
}

/** @param {Pool} from */
function deal({ draw, person, thing, colour }) {
  const [giver, taker, first, second, shade] = [person(), person(), thing(), thing(), colour()];
  const [past, base] = /** @type {[string, string]} */ (
    draw.pick([
      ['gave', 'give'],
      ['sold', 'sell'],
      ['lent', 'lend'],
    ])
  );
  const text = draw.pick([
    `${giver.name} ${past} ${taker.name} a ${shade} ${first} and got ${a(second)} back.`,
    `${taker.name} wanted a ${shade} ${first}, so ${giver.name} ${past} ${taker.him} the ${first} and got ${a(second)} back.`,
  ]);
  return fact(text, [
    [`Who ${past} the ${first}?`, giver.name],
    [`Who got the ${first}?`, taker.name],
    [`What did ${giver.name} ${base} ${taker.name}?`, `${shade} ${first}`],
    [`What did ${giver.name} get?`, second],
    [`What colour was the ${first}?`, shade],
  ]);
}

/** @param {Pool} from */
function lostAndFound({ draw, person, thing, corner }) {
  const [owner, finder, lost, where] = [person(), person(), thing(), corner()];
  const text = draw.pick([
    `"I cannot find my ${lost}," said ${owner.name}. "It is ${where}," said ${finder.name}.`,
    `${owner.name} lost ${a(lost)}. ${finder.name} found it ${where}.`,
    `"Where is my ${lost}?" asked ${owner.name}. ${finder.name} told ${owner.him} that it was ${where}.`,
  ]);
  return fact(text, [
    [`What did ${owner.name} lose?`, lost],
    [`Where was the ${lost}?`, where],
    [`Who lost the ${lost}?`, owner.name],
    [`Who knew where the ${lost} was?`, finder.name],
  ]);
}

/** @param {Pool} from */
function loan({ draw, person, thing, hour }) {
  const [asker, owner, wanted, time] = [person(), person(), thing(), hour()];
  const text = draw.pick([
    `"Can you lend me your ${wanted}?" asked ${asker.name}. "Yes, but bring it back at ${time}," said ${owner.name}.`,
    `${asker.name} asked ${owner.name} to lend ${asker.him} ${a(wanted)} until ${time}.`,
    `"${owner.name}, I need ${a(wanted)}," said ${asker.name}. ${owner.name} lent ${asker.him} the ${wanted} until ${time}.`,
  ]);
  return fact(text, [
    [`What does ${asker.name} want to borrow?`, wanted],
    [`Who wants to borrow the ${wanted}?`, asker.name],
    [`Who has ${a(wanted)}?`, owner.name],
    [`When does ${asker.name} have to bring it back?`, time],
  ]);
}

/** @param {Pool} from */
function invitation({ draw, person, spot, hour, day }) {
  const [host, guest, where, time, when] = [person(), person(), spot(), hour(), day()];
  const said = draw.chance(0.5);
  const text = draw.pick([
    `"Do you want to come to ${where.place} on ${when} at ${time}?" asked ${host.name}. "I would love to," said ${guest.name}.`,
    `${host.name} invited ${guest.name} to ${where.place} at ${time} on ${when}${said ? `, and ${guest.name} said yes` : ''}.`,
    `"${guest.name}, let us meet ${where.at} at ${time}," said ${host.name}. "Good, see you on ${when}," said ${guest.name}.`,
  ]);
  return fact(text, [
    [`Where does ${host.name} want to meet ${guest.name}?`, where.place],
    [`At what time do ${host.name} and ${guest.name} meet?`, time],
    [`On which day do ${host.name} and ${guest.name} meet?`, when],
    [`Who invited ${guest.name}?`, host.name],
  ]);
}

/** @param {Pool} from */
function meal({ draw, person, food }) {
  const [eater, cook, dish] = [person(), person(), food()];
  const text = draw.pick([
    `"I am so hungry," said ${eater.name}. "I can make you some ${dish}," said ${cook.name}.`,
    `${eater.name} was hungry, so ${cook.name} made ${eater.him} some ${dish}.`,
    `${cook.name} offered some ${dish} to ${eater.name} because ${eater.he} was hungry.`,
  ]);
  return fact(text, [
    [`Who was hungry?`, eater.name],
    [`What did ${cook.name} offer?`, dish],
    [`Who offered some food?`, cook.name],
  ]);
}

/** @param {Pool} from */
function accident({ draw, person, thing, spot }) {
  const [guilty, owner, broken, where] = [person(), person(), thing(), spot()];
  const text = draw.pick([
    `"I am sorry, I broke your ${broken} ${where.at}," said ${guilty.name}. "It is all right," said ${owner.name}.`,
    `${guilty.name} said sorry to ${owner.name} because ${guilty.he} broke the ${broken} ${where.at}.`,
    `${guilty.name} broke the ${broken} of ${owner.name} ${where.at}. ${owner.name} was angry.`,
  ]);
  return fact(text, [
    [`Who broke the ${broken}?`, guilty.name],
    [`What did ${guilty.name} break?`, broken],
    [`Where did ${guilty.name} break the ${broken}?`, where.at],
    [`Whose ${broken} was it?`, owner.name],
  ]);
}

const FACTS = [pets, trips, deal, lostAndFound, loan, invitation, meal, accident];

/**
 * Two or three facts, in one line or one line each, and `count` questions spread over them.
 * @param {Draw} draw @param {number} count
 */
export function passage(draw, count) {
  const from = pool(draw);
  const facts = draw.some(FACTS, draw.chance(0.5) ? 2 : 3).map((make) => make(from));
  const each = Math.ceil(count / facts.length);
  const questions = draw.shuffled(facts.flatMap((item) => draw.some(item.questions, each)));
  const gap = draw.chance(0.5) ? ' ' : '\n';
  return { text: facts.map((item) => gap + upper(item.text)).join(''), questions: questions.slice(0, count) };
}
