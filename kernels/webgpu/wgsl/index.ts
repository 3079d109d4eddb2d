/** Every WebGPU kernel: its bindings in order, and its text put together from the static pieces of this folder. */
import type {Binding, KernelText} from '../compile.js';
import {scalarAccess, vectorAccess} from './access.js';
import {denseText} from './dense.js';
import {depthwiseText} from './depthwise.js';
import {epilogueText} from './epilogue.js';
import {gateText} from './gate.js';
import {groupedText} from './grouped.js';
import {matmulText, pixelSource, windowSource} from './matmul.js';
import {blurText, joinText, momentsText, normalizeText, poolText, sumText} from './sweep.js';

const read = (name: string): Binding => ({name, access: 'read'});
const write = (name: string): Binding => ({name, access: 'write'});

/** Kernels by what they read and write besides rows of x and out. */
const BODIES = {
  pointwise: {
    bindings: [read('weights'), read('scales'), read('norms')],
    pieces: [epilogueText, pixelSource, matmulText],
  },
  convolution: {
    bindings: [read('weights'), read('scales'), read('norms')],
    pieces: [epilogueText, windowSource, matmulText],
  },
  depthwise: {bindings: [read('weights'), write('statistics')], pieces: [epilogueText, depthwiseText]},
  grouped: {bindings: [read('weights')], pieces: [epilogueText, groupedText]},
  dense: {bindings: [read('weights')], pieces: [epilogueText, denseText]},
  join: {bindings: [read('weights'), read('scales')], pieces: [epilogueText, joinText]},
  sum: {bindings: [write('sums')], pieces: [sumText]},
  moments: {bindings: [write('moments')], pieces: [momentsText]},
  normalize: {bindings: [read('weights')], pieces: [normalizeText]},
  pool: {bindings: [], pieces: [poolText]},
  blur: {bindings: [], pieces: [blurText]},
} as const satisfies Record<string, {bindings: readonly Binding[]; pieces: readonly string[]}>;

export type RowKernel = keyof typeof BODIES;
export type KernelName = `${RowKernel}.${'vector' | 'scalar'}` | 'gate';

/** A kernel over rows exists twice: for channels in multiples of four, and for any. */
function variant(kernel: RowKernel, access: 'vector' | 'scalar'): [KernelName, KernelText] {
  const {bindings, pieces} = BODIES[kernel];
  const suffix = access === 'vector' ? '' : 'Scalars';
  const rows = [read(`x${suffix}`), read(`residual${suffix}`), write(`out${suffix}`)];
  const text = [access === 'vector' ? vectorAccess : scalarAccess, ...pieces].join('\n');
  return [`${kernel}.${access}`, {bindings: [...rows, ...bindings], text}];
}

const rowKernels = (Object.keys(BODIES) as RowKernel[]).flatMap((kernel) => [
  variant(kernel, 'vector'),
  variant(kernel, 'scalar'),
]);

export const KERNELS = Object.fromEntries<KernelText>([
  ...rowKernels,
  ['gate', {bindings: [read('sums'), read('weights'), write('scales')], text: gateText}],
]) as Readonly<Record<KernelName, KernelText>>;
