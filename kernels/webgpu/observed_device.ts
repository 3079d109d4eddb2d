/**
 * Remembers, for the pipelines and bind group layouts of a device, which bindings a shader writes. WebGPU does not tell that
 * of a finished pipeline, and whoever replays recorded dispatches must know it. Knows nothing of TF.js.
 */

/** How a dispatch uses a buffer. `write` stands for WGSL's `read_write`: whether it also reads is not told apart. */
export type BindingAccess = 'read' | 'write';

/** By group, then by binding. */
export type PipelineBindings = ReadonlyMap<number, ReadonlyMap<number, BindingAccess>>;

interface Observations {
  readonly modules: WeakMap<GPUShaderModule, PipelineBindings>;
  readonly pipelines: WeakMap<GPUComputePipeline, PipelineBindings>;
  readonly layouts: WeakMap<GPUBindGroupLayout, ReadonlyMap<number, BindingAccess>>;
}

const observed = new WeakMap<GPUDevice, Observations>();

/** Pipelines made on `device` from now on are known to `bindingAccess`. A second call does nothing. */
export function observeDevice(device: GPUDevice): void {
  if (observed.has(device)) return;
  const seen: Observations = {modules: new WeakMap(), pipelines: new WeakMap(), layouts: new WeakMap()};
  observed.set(device, seen);
  const createShaderModule = device.createShaderModule.bind(device);
  device.createShaderModule = (descriptor) => {
    const module = createShaderModule(descriptor);
    seen.modules.set(module, parseBindings(descriptor.code));
    return module;
  };
  const note = (
    pipeline: GPUComputePipeline,
    {compute}: GPUComputePipelineDescriptor,
  ): GPUComputePipeline => {
    const bindings = seen.modules.get(compute.module);
    if (bindings) seen.pipelines.set(pipeline, bindings);
    return pipeline;
  };
  const createComputePipeline = device.createComputePipeline.bind(device);
  device.createComputePipeline = (descriptor) => note(createComputePipeline(descriptor), descriptor);
  const createComputePipelineAsync = device.createComputePipelineAsync.bind(device);
  device.createComputePipelineAsync = async (descriptor) =>
    note(await createComputePipelineAsync(descriptor), descriptor);
  const createBindGroupLayout = device.createBindGroupLayout.bind(device);
  device.createBindGroupLayout = (descriptor) => {
    const layout = createBindGroupLayout(descriptor);
    seen.layouts.set(layout, layoutBindings(descriptor.entries));
    return layout;
  };
}

export interface BindingQuery {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
  readonly group: number;
  readonly binding: number;
}

/** Undefined where neither the pipeline nor the layout was made under observation. */
export function bindingAccess(
  device: GPUDevice,
  {pipeline, layout, group, binding}: BindingQuery,
): BindingAccess | undefined {
  const seen = observed.get(device);
  return seen?.layouts.get(layout)?.get(binding) ?? seen?.pipelines.get(pipeline)?.get(group)?.get(binding);
}

function layoutBindings(entries: Iterable<GPUBindGroupLayoutEntry>): ReadonlyMap<number, BindingAccess> {
  const isWritten = ({buffer}: GPUBindGroupLayoutEntry): boolean => buffer?.type === 'storage';
  return new Map([...entries].map((entry) => [entry.binding, isWritten(entry) ? 'write' : 'read']));
}

const DECLARATION = /((?:@\w+\s*\(\s*\d+\s*\)\s*)+)var\s*(?:<([^>]*)>)?\s*\w+\s*:/g;

/** The resource declarations of a WGSL text, e.g. `@group(0) @binding(0) var<storage, read_write> result: …`. */
export function parseBindings(code: string): PipelineBindings {
  const groups = new Map<number, Map<number, BindingAccess>>();
  const withoutComments = code.replace(/\/\/[^\n]*/g, '').replace(/\/\*[\s\S]*?\*\//g, '');
  for (const [, attributes = '', addressSpace = ''] of withoutComments.matchAll(DECLARATION)) {
    const group = attributeOf(attributes, 'group');
    const binding = attributeOf(attributes, 'binding');
    if (group === undefined || binding === undefined) continue;
    const bindings = groups.get(group) ?? new Map<number, BindingAccess>();
    bindings.set(binding, /\bread_write\b/.test(addressSpace) ? 'write' : 'read');
    groups.set(group, bindings);
  }
  return groups;
}

function attributeOf(attributes: string, name: string): number | undefined {
  const value = new RegExp(`@${name}\\s*\\(\\s*(\\d+)\\s*\\)`).exec(attributes)?.[1];
  return value === undefined ? undefined : Number(value);
}
