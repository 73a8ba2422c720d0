/** Seeded draws for the text generators. Self-contained, so that the scripts run without a build. */
export class Draw {
  /**
   * @param {number} seed
   * @param {string} [stream] separates the uses of one seed
   * @param {'train' | 'held-out'} [split] what names are drawn from
   * @param {number} [blends] the share of names that are blended of two real ones
   * @param {number} [alike] the share of names that are made of another of the same text, so that its first letters do
   * not decide
   * @param {number} [spelt] the share of names composed of tokens of the vocabulary, drawn with equal probability
   */
  constructor(seed, stream = '', split = 'train', blends = 0, alike = 0, spelt = 0) {
    this.state = hash(`${seed}/${stream}`);
    this.split = split;
    this.blends = blends;
    this.alike = alike;
    this.spelt = spelt;
  }

  /** Uniform in [0, 1): mulberry32, 32 bits of state are plenty for drawing words. */
  uniform() {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  /** Uniform integer in [0, n). @param {number} n */
  below(n) {
    return Math.floor(this.uniform() * n);
  }

  /** @param {number} probability */
  chance(probability) {
    return this.uniform() < probability;
  }

  /** @template T @param {readonly T[]} list @returns {T} */
  pick(list) {
    return /** @type {T} */ (list[this.below(list.length)]);
  }

  /**
   * `count` different entries in random order. @template T @param {readonly T[]} list @param {number} count @returns
   * {T[]}
   */
  some(list, count) {
    const rest = [...list];
    const taken = [];
    while (taken.length < count && rest.length > 0) taken.push(...rest.splice(this.below(rest.length), 1));
    return taken;
  }

  /** @template T @param {readonly T[]} list @returns {T[]} */
  shuffled(list) {
    return this.some(list, list.length);
  }
}

/** FNV-1a over UTF-16 units, then mixed: 32 bits. @param {string} text */
export function hash(text) {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
