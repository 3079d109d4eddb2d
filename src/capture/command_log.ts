/**
 * Hooks a GPUDevice so that every compute command is written down in the order in which the queue runs it, whoever encodes
 * it: TF.js's own programs and raw kernels alike. Knows buffers, not tensors.
 */
import {type BindingAccess, bindingAccess} from '../../kernels/webgpu/observed_device.js';
import type {BackendAccess} from '../../kernels/webgpu/backend_access.js';
import {type BoundGroup, type Command, readsOf, type RecordedBuffer, writesOf} from './commands.js';
import {MethodHooks} from './method_hooks.js';

type Encoded = Command[];

/** Commands that a replay cannot repeat, with what to say of them. */
const UNREPEATABLE = [
  ['beginRenderPass', 'a render pass'],
  ['copyBufferToTexture', 'a copy into a texture'],
  ['copyTextureToBuffer', 'a copy from a texture'],
  ['copyTextureToTexture', 'a copy between textures'],
  ['resolveQuerySet', 'a timestamp query (tf.time or tf.profile is active)'],
] as const;
const UNREPEATABLE_ON_QUEUE = [
  ['writeTexture', 'an upload into a texture'],
  ['copyExternalImageToTexture', 'an upload of an image; pass the image as an input of the capture instead'],
] as const;

export class CommandLog {
  /** In queue order. */
  readonly commands: Command[] = [];
  /** The first thing met that a replay cannot repeat. */
  obstacle: string | undefined;
  readonly #access: BackendAccess;
  readonly #stock: () => ReadonlySet<unknown>;
  readonly #inputs: readonly GPUBuffer[];
  readonly #hooks = new MethodHooks();
  readonly #lives = new Map<GPUBuffer, RecordedBuffer>();
  readonly #groups = new WeakMap<GPUBindGroup, GPUBindGroupDescriptor>();
  readonly #finished = new WeakMap<GPUCommandBuffer, Encoded>();
  /** Buffers whose content follows from an input. Grows as commands are encoded, before they are submitted. */
  readonly #dependent = new Set<RecordedBuffer>();

  /** Hooks stay until `stop`. `inputs` are the buffers that hold the function's inputs. */
  constructor(access: BackendAccess, inputs: readonly GPUBuffer[]) {
    this.#access = access;
    this.#inputs = inputs;
    this.#stock = () => access.stockPipelines();
    this.#hookDevice();
    this.#hookQueue();
    this.#hooks.replace(access.bufferManager, 'acquireBuffer', (acquire) => (...args) => {
      const buffer = acquire(...args);
      // A pooled buffer starts a new life; a fresh one has just begun its first in createBuffer.
      if (!this.#isUntouched(buffer)) this.#begin(buffer);
      return buffer;
    });
  }

  stop(): void {
    this.#hooks.remove();
  }

  /** The life that `buffer` is in now. */
  lifeOf(buffer: GPUBuffer): RecordedBuffer {
    const known = this.#lives.get(buffer);
    if (known) return known;
    const input = this.#inputs.indexOf(buffer);
    const role = input < 0 ? 'weight' : 'input';
    const life: RecordedBuffer = {role, input, size: buffer.size, buffer};
    this.#lives.set(buffer, life);
    if (role === 'input') this.#dependent.add(life);
    return life;
  }

  /** Whether the content of `buffer` depends on an input. */
  dependsOnInput(buffer: GPUBuffer): boolean {
    return this.#dependent.has(this.lifeOf(buffer));
  }

  #begin(buffer: GPUBuffer): void {
    this.#lives.set(buffer, {role: 'temporary', input: -1, size: buffer.size, buffer});
  }

  #isUntouched(buffer: GPUBuffer): boolean {
    return this.#fresh.delete(buffer);
  }

  readonly #fresh = new Set<GPUBuffer>();

  #refuse(what: string): void {
    this.obstacle ??= what;
  }

  #hookDevice(): void {
    const {device} = this.#access;
    this.#hooks.replace(device, 'createBuffer', (create) => (descriptor) => {
      const buffer = create(descriptor);
      this.#begin(buffer);
      this.#fresh.add(buffer);
      if (descriptor.mappedAtCreation) this.#watchMapping(buffer);
      return buffer;
    });
    this.#hooks.replace(device, 'createBindGroup', (create) => (descriptor) => {
      const group = create(descriptor);
      this.#groups.set(group, descriptor);
      return group;
    });
    this.#hooks.replace(device, 'createCommandEncoder', (create) => (descriptor) => {
      const encoder = create(descriptor);
      this.#watchEncoder(encoder);
      return encoder;
    });
  }

  /**
   * What was written through the mapping counts as an upload at the moment of `unmap`. Who maps at creation gets memory of ours, zero as
   * that of WebGPU is: to read back what was written to that, on an NVIDIA GPU, took 5 s for the 114 MB of ConvNeXt-T.
   */
  #watchMapping(buffer: GPUBuffer): void {
    const ranges: {offset: number; mapped: ArrayBuffer; given: ArrayBuffer}[] = [];
    let isNew = true;
    const getMappedRange = buffer.getMappedRange.bind(buffer);
    buffer.getMappedRange = (offset = 0, size) => {
      const mapped = size === undefined ? getMappedRange(offset) : getMappedRange(offset, size);
      const given = isNew ? new ArrayBuffer(mapped.byteLength) : mapped;
      ranges.push({offset, mapped, given});
      return given;
    };
    const unmap = buffer.unmap.bind(buffer);
    buffer.unmap = () => {
      for (const {offset, mapped, given} of ranges.splice(0)) {
        if (isNew) new Uint8Array(mapped).set(new Uint8Array(given));
        this.#upload(buffer, offset, new Uint8Array(isNew ? given : given.slice(0)));
      }
      isNew = false;
      unmap();
    };
  }

  #upload(buffer: GPUBuffer, offset: number, data: Uint8Array<ArrayBuffer>): void {
    this.commands.push({kind: 'upload', target: this.lifeOf(buffer), offset, data});
  }

  #hookQueue(): void {
    const {queue} = this.#access;
    this.#hooks.replace(queue, 'submit', (submit) => (buffers) => {
      const list = [...buffers];
      for (const buffer of list) {
        const encoded = this.#finished.get(buffer);
        if (encoded) this.commands.push(...encoded);
        else this.#refuse('commands that were encoded before the run, as those of another capture are');
      }
      submit(list);
    });
    this.#hooks.replace(
      queue,
      'writeBuffer',
      (write) =>
        (buffer, bufferOffset, data, dataOffset = 0, size) => {
          this.#upload(buffer, bufferOffset, bytesOf(data, dataOffset, size));
          if (size === undefined) write(buffer, bufferOffset, data as GPUAllowSharedBufferSource, dataOffset);
          else write(buffer, bufferOffset, data as GPUAllowSharedBufferSource, dataOffset, size);
        },
    );
    for (const [name, what] of UNREPEATABLE_ON_QUEUE) {
      this.#hooks.replace(queue, name, (original: (...args: never[]) => undefined) => (...args: never[]) => {
        this.#refuse(what);
        return original(...args);
      });
    }
  }

  #watchEncoder(encoder: GPUCommandEncoder): void {
    const encoded: Encoded = [];
    const hooks = new MethodHooks(); // Never removed: the encoder ends before the recording does.
    hooks.replace(encoder, 'beginComputePass', (begin) => (descriptor) => {
      const pass = begin(descriptor);
      this.#watchPass(pass, encoded);
      return pass;
    });
    const copy = encoder.copyBufferToBuffer.bind(encoder) as (...args: unknown[]) => undefined;
    encoder.copyBufferToBuffer = (...args: unknown[]) => {
      this.#encode(
        encoded,
        copyOf(args, (buffer) => this.lifeOf(buffer)),
      );
      return copy(...args);
    }; // Two overloads, told apart by copyOf.
    hooks.replace(encoder, 'clearBuffer', (clear) => (buffer, offset = 0, size = buffer.size - offset) => {
      this.#encode(encoded, {kind: 'clear', target: this.lifeOf(buffer), offset, size});
      clear(buffer, offset, size);
    });
    hooks.replace(encoder, 'finish', (finish) => (descriptor) => {
      const buffer = finish(descriptor);
      this.#finished.set(buffer, encoded);
      return buffer;
    });
    for (const [name, what] of UNREPEATABLE) {
      const original = encoder[name].bind(encoder) as (...args: unknown[]) => never;
      const refusing = (...args: unknown[]): never => {
        this.#refuse(what);
        return original(...args);
      };
      Object.defineProperty(encoder, name, {value: refusing, configurable: true});
    }
  }

  #watchPass(pass: GPUComputePassEncoder, encoded: Encoded): void {
    const hooks = new MethodHooks(); // Never removed, as for the encoder.
    let pipeline: GPUComputePipeline | undefined;
    const groups = new Map<number, {group: GPUBindGroup; dynamicOffsets: readonly number[]}>();
    hooks.replace(pass, 'setPipeline', (set) => (next) => {
      pipeline = next;
      set(next);
    });
    const setBindGroup = pass.setBindGroup.bind(pass) as (...args: unknown[]) => undefined;
    pass.setBindGroup = ((index: number, group: GPUBindGroup | null, ...rest: unknown[]) => {
      if (group) groups.set(index, {group, dynamicOffsets: dynamicOffsetsOf(rest)});
      else groups.delete(index);
      return setBindGroup(index, group, ...rest);
    }) as GPUComputePassEncoder['setBindGroup']; // Two overloads, told apart by dynamicOffsetsOf.
    const bound = (): {pipeline: GPUComputePipeline; groups: BoundGroup[]} => {
      if (!pipeline) throw new Error('A dispatch was encoded before setPipeline.');
      const current = pipeline;
      const list = [...groups].map(([index, {group, dynamicOffsets}]) =>
        this.#boundGroup(current, index, group, dynamicOffsets),
      );
      return {pipeline, groups: list};
    };
    hooks.replace(pass, 'dispatchWorkgroups', (dispatch) => (x, y = 1, z = 1) => {
      const {pipeline: current, groups: list} = bound();
      const name = current.label || 'unnamed pipeline';
      this.#encode(encoded, {
        ...{kind: 'dispatch', name, pipeline: current, groups: list},
        ...{workgroups: [x, y, z], indirect: undefined},
      });
      dispatch(x, y, z);
    });
    hooks.replace(pass, 'dispatchWorkgroupsIndirect', (dispatch) => (buffer, offset) => {
      const {pipeline: current, groups: list} = bound();
      const name = current.label || 'unnamed pipeline';
      const indirect = {buffer: this.lifeOf(buffer), offset};
      this.#encode(encoded, {
        ...{kind: 'dispatch', name, pipeline: current, groups: list},
        ...{workgroups: [0, 0, 0], indirect},
      });
      dispatch(buffer, offset);
    });
  }

  #encode(encoded: Encoded, command: Command): void {
    encoded.push(command);
    if (readsOf(command).some((buffer) => this.#dependent.has(buffer))) {
      for (const buffer of writesOf(command)) this.#dependent.add(buffer);
    }
  }

  #boundGroup(
    pipeline: GPUComputePipeline,
    index: number,
    group: GPUBindGroup,
    dynamicOffsets: readonly number[],
  ): BoundGroup {
    const descriptor = this.#groups.get(group);
    if (!descriptor) {
      this.#refuse(`a bind group of '${pipeline.label}' that was made before the run; make it in the run`);
      return {index, layout: pipeline.getBindGroupLayout(index), bindings: [], dynamicOffsets};
    }
    const {layout} = descriptor;
    const bindings = [...descriptor.entries].flatMap(({binding, resource}) => {
      const range = bufferRange(resource);
      if (!range) {
        this.#refuse(`'${pipeline.label}' binds a texture or sampler`);
        return [];
      }
      const buffer = this.lifeOf(range.buffer);
      const {offset = 0, size = buffer.size - offset} = range;
      return [{binding, access: this.#accessOf(pipeline, layout, index, binding), buffer, offset, size}];
    });
    return {index, layout, bindings, dynamicOffsets};
  }

  #accessOf(
    pipeline: GPUComputePipeline,
    layout: GPUBindGroupLayout,
    group: number,
    binding: number,
  ): BindingAccess {
    const known = bindingAccess(this.#access.device, {pipeline, layout, group, binding});
    if (known) return known;
    if (!this.#stock().has(pipeline)) {
      this.#refuse(`'${pipeline.label}' was compiled before observeDevice(device) was called`);
    }
    return group === 0 && binding === 0 ? 'write' : 'read';
  }
}

function bufferRange(resource: GPUBindingResource): GPUBufferBinding | undefined {
  if (resource instanceof GPUBuffer) return {buffer: resource};
  return 'buffer' in resource ? resource : undefined;
}

/** `dataOffset` and `size` count elements of a typed array, bytes of anything else, as in WebGPU. */
function bytesOf(data: unknown, dataOffset: number, size: number | undefined): Uint8Array<ArrayBuffer> {
  if (!ArrayBuffer.isView(data)) {
    const bytes = new Uint8Array(data as ArrayBuffer); // WebGPU takes views and ArrayBuffers only.
    return bytes.slice(dataOffset, size === undefined ? undefined : dataOffset + size);
  }
  const unit = 'BYTES_PER_ELEMENT' in data ? Number(data.BYTES_PER_ELEMENT) : 1;
  const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
  return bytes.slice(dataOffset * unit, size === undefined ? undefined : (dataOffset + size) * unit);
}

/** (source, target, size?) or (source, sourceOffset, target, targetOffset, size?). */
function copyOf(args: readonly unknown[], lifeOf: (buffer: GPUBuffer) => RecordedBuffer): Command {
  const full = typeof args[1] === 'number';
  const [source, sourceOffset, target, targetOffset, size] = full ? args : [args[0], 0, args[1], 0, args[2]];
  const from = lifeOf(source as GPUBuffer);
  const bytes = size === undefined ? from.size - Number(sourceOffset) : Number(size);
  return {
    ...{kind: 'copy', source: from, sourceOffset: Number(sourceOffset)},
    ...{target: lifeOf(target as GPUBuffer), targetOffset: Number(targetOffset), size: bytes},
  };
}

/** (offsets?) or (data, start, length). */
function dynamicOffsetsOf(rest: readonly unknown[]): readonly number[] {
  const [offsets, start, length] = rest;
  if (offsets === undefined) return [];
  const list = [...(offsets as Iterable<number>)];
  return start === undefined ? list : list.slice(Number(start), Number(start) + Number(length));
}
