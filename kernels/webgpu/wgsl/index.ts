/** Every WebGPU kernel: its bindings in order, and its text put together from the static pieces of this folder. */
import type {Binding, KernelText} from '../compile.js';
import {scalarAccess, scalarInput, vectorAccess, vectorInput, vectorOutput} from './access.js';
import {channelSumsText} from './channel_sums.js';
import {denseText} from './dense.js';
import {depthwiseText, expandSource, mapSource} from './depthwise.js';
import {depthwiseProjectText, expandedPatch, mapPatch} from './depthwise_project.js';
import {directText} from './direct.js';
import {epilogueText} from './epilogue.js';
import {expandRowsText} from './expand_rows.js';
import {feedForwardText} from './feed_forward.js';
import {expandText, projectText} from './fused.js';
import {
  depthwiseGradientText,
  gradientOutput,
  groupedGradientText,
  mergeGradientText,
  scalarGroups,
  scalarSlopes,
  vectorGroups,
  vectorSlopes,
} from './filter_gradient.js';
import {gateText} from './gate.js';
import {gateExpandText} from './gate_expand.js';
import {groupedText} from './grouped.js';
import {groupedProductText} from './grouped_product.js';
import {matmulText} from './matmul.js';
import {componentSource, gatedSource, packedSource, pixelSource, windowSource} from './matmul_sources.js';
import {floatRows, halfRows, matrixText, pixelOrigin, windowOrigin} from './matrix.js';
import {PACKED_SECTIONS, packText} from './pack.js';
import {rowMomentsText} from './row_moments.js';
import {activationText, slopeText} from './slope.js';
import {squeezeText} from './squeeze.js';
import {stemText} from './stem.js';
import {teamsText} from './teams.js';
import {blurText, joinText, mergeText, momentsText, normalizeText, poolText, sumText} from './sweep.js';
import {winogradFour, winogradInputText, winogradOutputText, winogradTwo} from './winograd.js';

const read = (name: string, element?: string): Binding => ({name, access: 'read', element});
const write = (name: string): Binding => ({name, access: 'write'});

interface Body {
  readonly bindings: readonly Binding[];
  readonly pieces: readonly string[];
  /** Whether x is read channel by channel even where all else goes by vectors. */
  readonly readsScalars?: true;
}

/** Kernels by what they read and write besides rows of x and out. */
const BODIES = {
  pointwise: {
    bindings: [read('weights'), read('scales'), read('norms')],
    pieces: [epilogueText, rowMomentsText, pixelSource, teamsText, matmulText],
  },
  gatedPointwise: {
    bindings: [read('weights'), read('scales'), read('norms')],
    pieces: [epilogueText, rowMomentsText, squeezeText, gatedSource, teamsText, matmulText],
  },
  directPointwise: {
    bindings: [read('weights'), read('scales'), read('norms')],
    pieces: [epilogueText, rowMomentsText, pixelSource, teamsText, directText],
  },
  convolution: {
    bindings: [read('weights'), read('scales'), read('norms')],
    pieces: [epilogueText, rowMomentsText, windowSource, teamsText, matmulText],
  },
  packedConvolution: {
    bindings: [read('weights'), read('scales'), read('norms')],
    pieces: [epilogueText, rowMomentsText, packedSource, teamsText, matmulText],
    readsScalars: true,
  },
  stem: {bindings: [read('weights')], pieces: [epilogueText, stemText], readsScalars: true},
  winogradInput2: {bindings: [], pieces: [winogradTwo, winogradInputText]},
  winogradInput4: {bindings: [], pieces: [winogradFour, winogradInputText]},
  winogradProduct: {
    bindings: [read('weights'), read('scales'), read('norms')],
    pieces: [epilogueText, rowMomentsText, componentSource, teamsText, matmulText],
  },
  winogradOutput2: {bindings: [read('weights')], pieces: [epilogueText, winogradTwo, winogradOutputText]},
  winogradOutput4: {bindings: [read('weights')], pieces: [epilogueText, winogradFour, winogradOutputText]},
  depthwise: {
    bindings: [read('weights'), write('statistics')],
    pieces: [epilogueText, depthwiseText, channelSumsText, mapSource],
  },
  expandDepthwise: {
    bindings: [read('weights'), write('statistics')],
    pieces: [epilogueText, depthwiseText, channelSumsText, expandSource],
  },
  expandRows: {
    bindings: [read('weights'), write('statistics')],
    pieces: [epilogueText, expandRowsText, channelSumsText],
  },
  feedForward: {
    bindings: [read('weights'), read('norms')],
    pieces: [epilogueText, rowMomentsText, projectText, expandText, feedForwardText],
  },
  depthwiseProject: {
    bindings: [read('weights')],
    pieces: [epilogueText, projectText, depthwiseProjectText, mapPatch],
  },
  expandDepthwiseProject: {
    bindings: [read('weights')],
    pieces: [epilogueText, projectText, expandText, depthwiseProjectText, expandedPatch],
  },
  grouped: {bindings: [read('weights')], pieces: [epilogueText, groupedText]},
  groupedProduct: {
    bindings: [read('weights'), write('statistics')],
    pieces: [epilogueText, groupedProductText],
  },
  dense: {bindings: [read('weights')], pieces: [epilogueText, denseText]},
  join: {bindings: [read('weights'), read('scales')], pieces: [epilogueText, joinText]},
  merge: {bindings: [read('weights')], pieces: [epilogueText, mergeText]},
  sum: {bindings: [write('sums')], pieces: [sumText]},
  moments: {bindings: [write('moments')], pieces: [momentsText]},
  normalize: {bindings: [read('weights')], pieces: [normalizeText]},
  pool: {bindings: [], pieces: [poolText]},
  blur: {bindings: [], pieces: [blurText]},
  activation: {bindings: [], pieces: [activationText]},
  slope: {bindings: [], pieces: [slopeText]},
} as const satisfies Record<string, Body>;

/** Matrix products on subgroup matrices, by the source of their rows. */
const MATRIX_SOURCES = {matrix: pixelOrigin, matrixConvolution: windowOrigin} as const;
const MATRIX_DIRECTIVES = [
  'enable f16;',
  'enable subgroups;',
  'enable chromium_experimental_subgroup_matrix;',
  // The analysis cannot see that an index of a subgroup, local / SUBGROUP_SIZE, is uniform in it.
  'diagnostic(off, chromium.subgroup_matrix_uniformity);',
];

/** Gradients by a filter, by what reads x and dy: four channels at a time, or one by one. */
const GRADIENTS = {
  depthwiseGradient: {
    vector: [vectorInput, vectorSlopes, gradientOutput, depthwiseGradientText],
    scalar: [scalarInput, scalarSlopes, gradientOutput, depthwiseGradientText],
  },
  groupedGradient: {
    vector: [vectorGroups, gradientOutput, groupedGradientText],
    scalar: [scalarGroups, gradientOutput, groupedGradientText],
  },
} as const;

const GRADIENT_SUMS = [write('outScalars'), write('biasScalars')];

export type RowKernel = keyof typeof BODIES;
export type MatrixKernel = keyof typeof MATRIX_SOURCES;
export type GradientKernel = keyof typeof GRADIENTS;
export type KernelName =
  | `${RowKernel | GradientKernel}.${'vector' | 'scalar'}`
  | `${MatrixKernel}.${'float' | 'half'}`
  | 'gate'
  | 'gateExpand'
  | 'mergeGradient'
  | 'pack';

/** Whether the kernel takes an x of any channels even where it writes in fours. */
export const readsScalars = (kernel: RowKernel): boolean => (BODIES[kernel] as Body).readsScalars === true;

/** A kernel over rows exists twice: for channels in multiples of four, and for any. */
function variant(kernel: RowKernel, access: 'vector' | 'scalar'): [KernelName, KernelText] {
  const {bindings, pieces} = BODIES[kernel];
  const suffix = access === 'vector' ? '' : 'Scalars';
  const x = readsScalars(kernel) ? 'xScalars' : `x${suffix}`;
  const rows = [read(x), read(`residual${suffix}`), write(`out${suffix}`)];
  const ofVectors = readsScalars(kernel) ? scalarInput + vectorOutput : vectorAccess;
  const text = [access === 'vector' ? ofVectors : scalarAccess, ...pieces].join('\n');
  return [`${kernel}.${access}`, {bindings: [...rows, ...bindings], text}];
}

/** A matrix kernel exists twice: for x in f32, and for x in f16, which it reads by eight halves. */
function matrixVariant(kernel: MatrixKernel, rows: 'float' | 'half'): [KernelName, KernelText] {
  const bindings = [
    rows === 'float' ? read('x') : read('x', 'vec4u'),
    read('residual'),
    write('out'),
    read('weights'),
    read('filters', 'vec4u'),
    read('scales'),
    read('norms'),
  ];
  const staging = rows === 'float' ? floatRows : halfRows;
  const pieces = [vectorOutput, epilogueText, rowMomentsText, staging, MATRIX_SOURCES[kernel], matrixText];
  const text = pieces.join('\n');
  return [`${kernel}.${rows}`, {bindings, text, directives: MATRIX_DIRECTIVES}];
}

function gradientVariant(kernel: GradientKernel, access: 'vector' | 'scalar'): [KernelName, KernelText] {
  const suffix = access === 'vector' ? '' : 'Scalars';
  const bindings = [read(`x${suffix}`), read(`dy${suffix}`), write('sumsScalars'), ...GRADIENT_SUMS];
  return [`${kernel}.${access}`, {bindings, text: GRADIENTS[kernel][access].join('\n')}];
}

const gradientKernels = (Object.keys(GRADIENTS) as GradientKernel[]).flatMap((kernel) => [
  gradientVariant(kernel, 'vector'),
  gradientVariant(kernel, 'scalar'),
]);

const rowKernels = (Object.keys(BODIES) as RowKernel[]).flatMap((kernel) => [
  variant(kernel, 'vector'),
  variant(kernel, 'scalar'),
]);

const matrixKernels = (Object.keys(MATRIX_SOURCES) as MatrixKernel[]).flatMap((kernel) => [
  matrixVariant(kernel, 'float'),
  matrixVariant(kernel, 'half'),
]);

const GATE = [read('sums'), read('weights'), write('scales')];

const packedSections = Array.from({length: PACKED_SECTIONS}, (_, i) => read(`w${i}Scalars`));

export const KERNELS = Object.fromEntries<KernelText>([
  ...rowKernels,
  ...matrixKernels,
  ...gradientKernels,
  ['mergeGradient', {bindings: [read('sumsScalars'), ...GRADIENT_SUMS], text: mergeGradientText}],
  ['pack', {bindings: [...packedSections, write('outScalars')], text: packText}],
  ['gate', {bindings: GATE, text: gateText}],
  ['gateExpand', {bindings: GATE, text: [squeezeText, gateExpandText].join('\n')}],
]) as Readonly<Record<KernelName, KernelText>>;
