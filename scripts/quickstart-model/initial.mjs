/**
 * The weights that pretraining starts from. Most are drawn; a few heads start as what a small network takes longest to
 * find by itself: in the first layer two that look at the token before and at the one before that, in the second three
 * that look for where the last tokens stood before and give what followed them (an induction head). They are trained
 * with the rest. Source: Olsson et al., "In-context Learning and Induction Heads" (2022); rotary positions as in Su et
 * al., "RoFormer" (2021).
 */
const DEVIATION = 0.05;
/**
 * Coordinate 0 of every embedding: from it the heads of the first layer have queries and keys that depend on nothing
 * but the position.
 */
const CONSTANT = 0.15;

/**
 * @param {{numLayers: number, hiddenSize: number, numHeads: number, numKvHeads: number, headDim: number, theta:
 * number}} shape
 * @param {Iterable<[string, readonly number[]]>} expected names and shapes of the tensors
 * @param {(name: string) => {normal(): number}} random a stream of draws for each name
 * @returns {Map<string, {shape: readonly number[], values: Float32Array}>}
 */
export function initialWeights(shape, expected, random) {
  const { numLayers, hiddenSize: width } = shape;
  const tensors = new Map();
  for (const [name, sizes] of expected) {
    const draw = random(name);
    const residual = /o_proj|down_proj/.test(name);
    const deviation = residual ? DEVIATION / Math.sqrt(2 * numLayers) : DEVIATION;
    const values = Float32Array.from({ length: sizes.reduce((a, b) => a * b, 1) }, () =>
      sizes.length === 1 ? 1 : draw.normal() * deviation,
    );
    if (name.includes('embed')) for (let i = 0; i < values.length; i += width) values[i] = CONSTANT;
    tensors.set(name, { shape: sizes, values });
  }
  copyingHeads(
    shape,
    (layer, part) => tensors.get(`model.layers.${layer}.self_attn.${part}_proj.weight`).values,
    random('copying heads'),
  );
  return tensors;
}

/**
 * @param {Parameters<typeof initialWeights>[0]} shape
 * @param {(layer: number, part: 'q' | 'k' | 'v' | 'o') => Float32Array} weight [out, in]
 * @param {{normal(): number}} draw
 */
function copyingHeads({ hiddenSize: width, numHeads, numKvHeads, headDim, theta }, weight, draw) {
  const half = headDim / 2;
  const group = numHeads / numKvHeads;
  /** Directions of length about one, none of them along the constant. @param {number} count */
  const directions = (count) =>
    Array.from({ length: count }, () =>
      Float32Array.from({ length: width }, (_, i) => (i === 0 ? 0 : draw.normal() / Math.sqrt(width))),
    );
  /** @param {Float32Array} matrix @param {number} row @param {ArrayLike<number>} values @param {number} scale */
  const setRow = (matrix, row, values, scale) => {
    for (let i = 0; i < width; i++) matrix[row * width + i] = scale * Number(values[i]);
  };
  /**
   * Column of an output projection, [width, heads · head size]. @param {Float32Array} matrix @param {number} column
   * @param {ArrayLike<number>} values @param {number} scale
   */
  const setColumn = (matrix, column, values, scale) => {
    for (let i = 0; i < width; i++) matrix[i * numHeads * headDim + column] = scale * Number(values[i]);
  };
  const nothing = new Float32Array(width);

  // First layer, heads 0 and 1 of the first group: q·k = Σ A² cos(θᵢ(Δ − offset)) over the fast rotations, highest at Δ
  // = offset.
  const what = directions(headDim);
  const written = [directions(headDim), directions(headDim)];
  const [q, k, v, o] = [weight(0, 'q'), weight(0, 'k'), weight(0, 'v'), weight(0, 'o')];
  const constant = Float32Array.from({ length: width }, (_, i) => (i === 0 ? 1 : 0));
  for (let i = 0; i < half; i++) {
    const speed = theta ** (-i / half);
    const strength = speed > 0.03 ? 2.4 : 0;
    setRow(k, i, constant, strength);
    setRow(k, i + half, nothing, 0);
    for (const head of [0, 1]) {
      const angle = -speed * (head + 1);
      setRow(q, head * headDim + i, constant, strength * Math.cos(angle));
      setRow(q, head * headDim + i + half, constant, strength * Math.sin(angle));
    }
  }
  for (let j = 0; j < headDim; j++) {
    setRow(v, j, what[j] ?? nothing, 1);
    for (const head of [0, 1]) setColumn(o, head * headDim + j, written[head]?.[j] ?? nothing, 0.09);
  }

  // Second layer, the first head of each group: the last token, the one before it, or both stood before the key's
  // place. Only slow rotations compare, so that the distance does not matter.
  const [before, before2] = written;
  const [q1, k1, v1, o1] = [weight(1, 'q'), weight(1, 'k'), weight(1, 'v'), weight(1, 'o')];
  for (let g = 0; g < numKvHeads; g++) {
    const head = g * group;
    for (let j = 0; j < headDim; j++) {
      const slow = theta ** (-(j % half) / half) < 0.01;
      const first = g === 0 || (g === 2 && j % 2 === 0);
      setRow(q1, head * headDim + j, (first ? what : before)?.[j] ?? nothing, slow ? 1.7 : 0);
      setRow(k1, g * headDim + j, (first ? before : before2)?.[j] ?? nothing, slow ? 1.7 : 0);
    }
    const copied = directions(headDim);
    copied.forEach((direction, j) => {
      setRow(v1, g * headDim + j, direction, 1);
      setColumn(o1, head * headDim + j, direction, 0.2);
    });
  }
}
