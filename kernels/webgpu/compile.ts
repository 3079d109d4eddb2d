/**
 * From a kernel's static text and a plan's constants to a GPU pipeline. A pipeline's key is the kernel's name, what it binds, and those
 * constants, made here and nowhere else, so two shapes can never share the wrong pipeline.
 */
import {keptIn} from '../../ops/kept.js';
import type {BufferName, Constants, Dispatch} from '../plan.js';
import {activationText} from './activation_codes.js';
import {unroll} from './unroll.js';
import {observeDevice} from './observed_device.js';
import {type KernelName, KERNELS} from './wgsl/index.js';

export interface Binding {
  readonly name: string;
  readonly access: 'read' | 'write';
  /** WGSL type of an element; unless given, f32 or f16 as `elementOf` finds. */
  readonly element?: string | undefined;
}

/** A kernel: a static text and the storage buffers it binds, in binding order. */
export interface KernelText {
  readonly bindings: readonly Binding[];
  /** WGSL with an entry point 'main'; constants and binding declarations are put in front. */
  readonly text: string;
  /** What has to stand before anything else. */
  readonly directives?: readonly string[];
}

const literal = (value: number | boolean, type: string): string => {
  if (typeof value === 'boolean') return String(value);
  if (type === 'f32') return Number.isInteger(value) ? `${value}.0` : String(value);
  return `${value}${type === 'i32' ? 'i' : 'u'}`;
};

/** `NAME: value` gives an u32 or bool constant; a name ending in `:f32` or `:i32` one of that type. */
export function headerOf(constants: Constants): string {
  return Object.entries(constants)
    .map(([key, value]) => {
      const [name, type = typeof value === 'boolean' ? 'bool' : 'u32'] = key.split(':');
      return `const ${name}: ${type} = ${literal(value, type)};\n`;
    })
    .join('');
}

/** What of a dispatch its shader and its bind group depend on. */
export type Shaded = Pick<Dispatch, 'kernel' | 'constants' | 'buffers'>;

export interface BoundBuffer {
  readonly binding: number;
  readonly access: 'read' | 'write';
  readonly buffer: Exclude<BufferName, 'unused'>;
}

const bufferFor = ({buffers}: Shaded, name: string): BufferName =>
  buffers[name.replace('Scalars', '')] ?? 'unused';

const bound = new WeakMap<Shaded, readonly BoundBuffer[]>();

/** The buffers a dispatch binds: each costs time whenever it is encoded, so those that its constants rule out are left out. */
export const boundBuffers = (dispatch: Shaded): readonly BoundBuffer[] =>
  keptIn(bound, dispatch, () => findBuffers(dispatch));

const findBuffers = (dispatch: Shaded): readonly BoundBuffer[] =>
  kernelText(dispatch.kernel).bindings.flatMap(({name, access}, binding) => {
    const buffer = bufferFor(dispatch, name);
    return buffer === 'unused' ? [] : [{binding, access, buffer}];
  });

/** A text names all its kernel's buffers; those not bound are arrays that nothing comes to read or write. */
const declarations = (dispatch: Shaded): string =>
  kernelText(dispatch.kernel)
    .bindings.map(({name, access, element}, i) => {
      const type = element ?? elementOf(name, dispatch.constants);
      return bufferFor(dispatch, name) === 'unused'
        ? `var<private> ${name}: array<${type}, 1>;\n`
        : `@group(0) @binding(${i}) var<storage, ${access === 'read' ? 'read' : 'read_write'}> ${name}: array<${type}>;\n`;
    })
    .join('');

/** Rows that a plan may hold in f16: the constant of the name says so, and only where it does. */
const ROWS = {x: 'X_F16', residual: 'RESIDUAL_F16', out: 'OUT_F16'} as const;
export type RowBinding = keyof typeof ROWS;

/** The constants that say which rows of a dispatch are f16; those of f32 get none. */
export const rowTypes = (isHalf: Readonly<Record<RowBinding, boolean>>): Constants =>
  Object.fromEntries(
    (Object.keys(ROWS) as RowBinding[]).flatMap((row) => (isHalf[row] ? [[ROWS[row], true]] : [])),
  );

/** Buffers whose name ends in `Scalars` hold rows that need not be a multiple of four long. */
function elementOf(name: string, constants: Constants): string {
  const row = name.replace('Scalars', '');
  const isHalf = row in ROWS && constants[ROWS[row as RowBinding]] === true;
  if (name.endsWith('Scalars')) return isHalf ? 'f16' : 'f32';
  return isHalf ? 'vec4<f16>' : 'vec4f';
}

/** What writeOut converts to, and the stacks of rows that wgsl/matmul.ts stages. */
const aliases = (constants: Constants): string =>
  [
    `alias OutScalar = ${elementOf('outScalars', constants)};\n`,
    `alias OutVector = ${elementOf('out', constants)};\n`,
    ...('STACK' in constants ? [`alias Stack = vec${String(constants['STACK'])}f;\n`] : []),
  ].join('');

function directivesOf({directives = []}: KernelText, constants: Constants): string {
  const usesHalf = Object.values(ROWS).some((name) => constants[name] === true);
  return [...new Set([...(usesHalf ? ['enable f16;'] : []), ...directives])]
    .map((line) => `${line}\n`)
    .join('');
}

export function keyOf(dispatch: Shaded): string {
  const bound = boundBuffers(dispatch).map(({binding}) => binding);
  return `${dispatch.kernel} ${bound.join()} ${Object.entries(dispatch.constants)
    .map(([name, value]) => `${name}=${String(value)}`)
    .sort()
    .join(' ')}`;
}

/** The whole WGSL of a dispatch; `asLoops` as unroll's. */
export function shaderOf(dispatch: Shaded, asLoops = false): string {
  const {constants} = dispatch;
  const found = kernelText(dispatch.kernel);
  return [
    directivesOf(found, constants),
    headerOf(constants),
    aliases(constants),
    declarations(dispatch),
    activationText(constants),
    unroll(found.text, constants, asLoops),
  ].join('');
}

export function kernelText(kernel: string): KernelText {
  const found = KERNELS[kernel as KernelName] as KernelText | undefined;
  if (!found) throw new Error(`There is no WebGPU kernel '${kernel}'.`);
  return found;
}

/** Whether a CPU plays the GPU: Chromium's SwiftShader, Mesa's lavapipe. Older browsers do not tell; then a real one is assumed. */
export function isSoftware(device: GPUDevice): boolean {
  const info = device.adapterInfo as GPUAdapterInfo | undefined;
  return (
    info !== undefined &&
    /swiftshader|llvmpipe/i.test(`${info.architecture} ${info.device} ${info.description}`)
  );
}

export interface Compiled {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

/** Pipelines of one device. */
export class PipelineCache {
  readonly #device: GPUDevice;
  readonly #isSoftware: boolean;
  readonly #compiled = new Map<string, Compiled>();
  /** The same by dispatch: plans are kept, so that most need no key. */
  readonly #known = new WeakMap<Dispatch, Compiled>();

  constructor(device: GPUDevice) {
    observeDevice(device);
    this.#device = device;
    this.#isSoftware = isSoftware(device);
  }

  /** Compiles at first use, blocking; `prepare` avoids that. */
  get(dispatch: Dispatch): Compiled {
    const known = this.#known.get(dispatch);
    if (known) return known;
    const key = keyOf(dispatch);
    let found = this.#compiled.get(key);
    if (!found) {
      const {layout, descriptor} = this.#describe(dispatch);
      found = {layout, pipeline: this.#device.createComputePipeline(descriptor)};
      this.#compiled.set(key, found);
    }
    this.#known.set(dispatch, found);
    return found;
  }

  /** Compiles what is missing, all at once. `onProgress` is told how many of how many are done. */
  async prepare(
    dispatches: readonly Dispatch[],
    onProgress?: (done: number, of: number) => void,
  ): Promise<void> {
    const missing = new Map(
      dispatches
        .map((dispatch) => [keyOf(dispatch), dispatch] as const)
        .filter(([key]) => !this.#compiled.has(key)),
    );
    let done = 0;
    const compile = async ([key, dispatch]: [string, Dispatch]): Promise<void> => {
      const {layout, descriptor} = this.#describe(dispatch);
      const pipeline = await this.#device.createComputePipelineAsync(descriptor);
      this.#compiled.set(key, {layout, pipeline});
      onProgress?.(++done, missing.size);
    };
    await Promise.all([...missing].map(compile));
  }

  #describe(dispatch: Dispatch): {layout: GPUBindGroupLayout; descriptor: GPUComputePipelineDescriptor} {
    const label = `${dispatch.kernel} ${dispatch.workgroups.join('×')}`;
    const entries = boundBuffers(dispatch).map(({access, binding}) => ({
      binding,
      visibility: GPUShaderStage.COMPUTE,
      buffer: {type: access === 'read' ? ('read-only-storage' as const) : ('storage' as const)},
    }));
    const layout = this.#device.createBindGroupLayout({label, entries});
    const module = this.#device.createShaderModule({label, code: shaderOf(dispatch, this.#isSoftware)});
    return {
      layout,
      descriptor: {
        label,
        layout: this.#device.createPipelineLayout({bindGroupLayouts: [layout]}),
        compute: {module, entryPoint: 'main'},
      },
    };
  }
}
