/**
 * numpy.random.RandomState(seed).uniform(-1, 1), for references that say how they drew their numbers (MT19937, 53-bit
 * doubles).
 */
export function numpyUniform(seed: number): () => number {
  const state = new Uint32Array(624);
  state[0] = seed;
  for (let i = 1; i < 624; i++) {
    const before = state[i - 1] as number;
    state[i] = Math.imul(1812433253, before ^ (before >>> 30)) + i;
  }
  let at = 624;
  const next = (): number => {
    if (at === 624) {
      for (let i = 0; i < 624; i++) {
        const y = ((state[i] as number) & 0x80000000) | ((state[(i + 1) % 624] as number) & 0x7fffffff);
        state[i] = (state[(i + 397) % 624] as number) ^ (y >>> 1) ^ ((y & 1) === 0 ? 0 : 0x9908b0df);
      }
      at = 0;
    }
    let y = state[at++] as number;
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  };
  return () => -1 + 2 * (((next() >>> 5) * 67108864 + (next() >>> 6)) / 9007199254740992);
}
