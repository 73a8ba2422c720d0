/**
 * Seeded random numbers (xoshiro128**, seeded through splitmix32). The whole state is four 32-bit words that can be
 * saved and restored, so a run that stops and goes on draws what it would have drawn.
 * Source: Blackman & Vigna, "Scrambled linear pseudorandom number generators" (2021).
 */
export class Random {
  private readonly s: Uint32Array;

  /** `stream` separates the uses of one seed (shuffle, initialisation, dropout, …). */
  constructor(seed: number, stream = '') {
    let h = (seed >>> 0) ^ Math.imul(Math.floor(seed / 2 ** 32) | 0, 0x9e3779b1);
    for (let i = 0; i < stream.length; i++) h = Math.imul(h ^ stream.charCodeAt(i), 0x01000193);
    this.s = new Uint32Array(4);
    for (let i = 0; i < 4; i++) {
      h = (h + 0x9e3779b9) | 0;
      let z = h;
      z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
      this.s[i] = z ^ (z >>> 16);
    }
  }

  /** The four state words. */
  get state(): readonly number[] {
    return Array.from(this.s);
  }

  static fromState(state: readonly number[]): Random {
    const random = new Random(0);
    random.s.set(state);
    return random;
  }

  /** Uniform 32-bit unsigned integer. */
  uint32(): number {
    const s = this.s as Uint32Array & [number, number, number, number];
    const scrambled = Math.imul(rotl(Math.imul(s[1], 5), 7), 9) >>> 0;
    const t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 11);
    return scrambled;
  }

  /** Uniform in [0, 1) with 53 bits. */
  uniform(): number {
    return ((this.uint32() >>> 5) * 67108864 + (this.uint32() >>> 6)) / 9007199254740992;
  }

  /** Uniform integer in [0, n), without modulo bias. */
  below(n: number): number {
    return Math.floor(this.uniform() * n);
  }

  /** Standard normal (Box–Muller, one value a call so that the state alone says what comes next). */
  normal(): number {
    const u = 1 - this.uniform();
    return Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * this.uniform());
  }

  /** A permutation of 0 … n−1 (Fisher–Yates). */
  permutation(n: number): Int32Array {
    const order = Int32Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = this.below(i + 1);
      const swap = order[i] as number;
      order[i] = order[j] as number;
      order[j] = swap;
    }
    return order;
  }
}

function rotl(x: number, k: number): number {
  return (x << k) | (x >>> (32 - k));
}
