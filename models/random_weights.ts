/** Seeded weights of such a scale that activations neither vanish nor grow: for tests and timings without a checkpoint. */
import type {CheckpointTensor, TensorSource} from './tensors.js';

/** Uniform in [0, 1): Mulberry32. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** FNV-1a, so that a tensor's values depend on its name and not on the order of reading. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  return value >>> 0;
}

/** Half-width and centre of the uniform distribution of each role. */
function range({role, shape, name}: CheckpointTensor): {readonly spread: number; readonly centre: number} {
  switch (role) {
    case 'filter': {
      const fanIn = shape.slice(0, -1).reduce((product, size) => product * size, 1);
      return {spread: Math.sqrt(6 / fanIn), centre: 0}; // He et al. 2015.
    }
    case 'normGain':
      // Blocks end in these layers: a small gain keeps a long row of residual adds from growing.
      return {spread: 0.1, centre: /(project|second|expand)\/normGain$/.test(name) ? 0.5 : 1};
    case 'gain':
    case 'variance':
      return {spread: 0.2, centre: 1};
    case 'alpha':
      return {spread: 0.1, centre: 0.25};
    default:
      return {spread: 0.1, centre: 0};
  }
}

export const randomWeights =
  (seed = 1): TensorSource =>
  (tensor) => {
    const next = generator(hash(tensor.name) ^ seed);
    const {spread, centre} = range(tensor);
    const values = new Float32Array(tensor.shape.reduce((product, size) => product * size, 1));
    for (let i = 0; i < values.length; i++) values[i] = centre + spread * (2 * next() - 1);
    return values;
  };
