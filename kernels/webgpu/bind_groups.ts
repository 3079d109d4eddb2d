/**
 * Bind groups of earlier predictions. TF.js hands the same buffers out again and again, and to make a group costs more than all else of a dispatch:
 * 25 µs in Node.
 */
import {keptIn} from '../../ops/kept.js';
import type {Dispatch} from '../plan.js';
import type {BoundBuffer} from './compile.js';

export interface Bound {
  readonly layout: GPUBindGroupLayout;
  readonly bindings: readonly BoundBuffer[];
  /** In the order of `bindings`. */
  readonly buffers: readonly GPUBuffer[];
}

interface Known {
  readonly buffers: readonly GPUBuffer[];
  readonly group: GPUBindGroup;
}

/** By the weights' buffer, as a network repeats a block with others; where there is none, by the first. */
type KnownByWeights = WeakMap<GPUBuffer, Known[]>;

/** Of one dispatch and its weights. The rest are maps, of which TF.js's pool gave ConvNeXt-T's blocks 24 sets by turns. */
const MOST = 32;

/**
 * By the function that makes them, as who replaces it to watch (a recording) must see every group that is used; then by dispatch. A group does not
 * keep the memory of buffers that are destroyed.
 */
const made = new WeakMap<GPUDevice['createBindGroup'], WeakMap<Dispatch, KnownByWeights>>();

/** The group of `buffers` for `dispatch`, which belongs to a plan of this device. */
export function bindGroupFor(device: GPUDevice, dispatch: Dispatch, bound: Bound): GPUBindGroup {
  const known = knownOf(device, dispatch, bound);
  const {layout, bindings, buffers} = bound;
  const found = known.find((one) => buffers.every((buffer, i) => buffer === one.buffers[i]));
  if (found) return found.group;
  const entries = bindings.map(({binding}, i) => ({binding, resource: {buffer: buffers[i] as GPUBuffer}}));
  const group = device.createBindGroup({layout, entries});
  if (known.length === MOST) known.shift();
  known.push({buffers, group});
  return group;
}

function knownOf(device: GPUDevice, dispatch: Dispatch, {bindings, buffers}: Bound): Known[] {
  // Only looked up by: a device has one of its own while it is replaced.
  // eslint-disable-next-line @typescript-eslint/unbound-method
  const maker = device.createBindGroup;
  const weights = bindings.findIndex(({buffer}) => buffer === 'weights');
  const byDispatch = keptIn(made, maker, () => new WeakMap<Dispatch, KnownByWeights>());
  const byWeights = keptIn(byDispatch, dispatch, () => new WeakMap<GPUBuffer, Known[]>());
  return keptIn(byWeights, buffers[Math.max(weights, 0)] as GPUBuffer, () => []);
}
