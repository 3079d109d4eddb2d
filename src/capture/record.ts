/** Runs a function of tensors once and writes down the GPU commands it makes. */
import * as tf from '@tensorflow/tfjs-core';
import type {BackendAccess} from '../../kernels/webgpu/backend_access.js';
import {CommandLog} from './command_log.js';
import type {RecordedOutput, RecordedWeight, Recording} from './commands.js';
import {MethodHooks} from './method_hooks.js';
import type {HostValues} from './values.js';

export interface NamedResult {
  readonly name: string;
  readonly tensor: tf.Tensor;
}

/** What is recorded, and whose results are new tensors. The caller names the node at work, where it knows it, so that messages can. */
export interface Recordable {
  run(inputs: readonly tf.Tensor[]): NamedResult[] | Promise<NamedResult[]>;
  readonly nodeAtWork?: () => HostOp | undefined;
}

/** An op that needs values of the GPU in main memory, and the node of the graph where that is known. */
export interface HostOp {
  readonly op: string;
  readonly node: string | undefined;
}

export type RecordOutcome =
  | {readonly kind: 'recording'; readonly recording: Recording}
  /** The run reads values of the GPU that depend on the inputs: `ops` need them in main memory. */
  | {readonly kind: 'host'; readonly ops: readonly HostOp[]}
  /** The run does something else that cannot be repeated. */
  | {readonly kind: 'obstacle'; readonly reason: string};

/** A synchronous read whose values do not depend on the inputs: they are fetched, and the run starts again. */
class ValuesNeeded extends Error {
  readonly values: Promise<tf.BackendValues>;
  constructor(values: Promise<tf.BackendValues>) {
    super('Values of the GPU are needed in main memory.');
    this.values = values;
  }
}

class HostReadError extends Error {}

/** Reads known from earlier attempts, by their position among the run's synchronous reads. */
type KnownReads = Map<number, tf.BackendValues>;
const MOST_ATTEMPTS = 1000;

/**
 * No other TF.js work may run meanwhile; for a function that returns a promise that includes work between its awaits.
 * @throws what the function throws.
 */
export async function record(
  access: BackendAccess,
  what: Recordable,
  inputs: readonly HostValues[],
): Promise<RecordOutcome> {
  const known: KnownReads = new Map();
  for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
    try {
      return await recordOnce(access, what, inputs, known);
    } catch (error) {
      if (!(error instanceof ValuesNeeded)) throw error;
      known.set(known.size, await error.values);
    }
  }
  return {kind: 'obstacle', reason: `it reads constants back from the GPU more than ${MOST_ATTEMPTS} times`};
}

async function recordOnce(
  access: BackendAccess,
  what: Recordable,
  inputs: readonly HostValues[],
  known: KnownReads,
): Promise<RecordOutcome> {
  const engine = tf.engine();
  const tensors = inputs.map(({values, shape, dtype}) => tf.tensor(values, [...shape], dtype));
  for (const {dataId} of tensors) access.backend.uploadToGPU(dataId);
  access.flush();
  const buffers = tensors.map((tensor) => access.bufferOf(tensor));
  const log = new CommandLog(
    access,
    buffers.filter((buffer) => buffer !== undefined),
  );
  const watch = new TensorWatch(access, log, known, what.nodeAtWork);
  for (const {dataId} of tensors) watch.ignore(dataId);
  const before = engine.state.numTensors;
  let results: NamedResult[] = [];
  try {
    engine.startScope('capture');
    try {
      const returned = what.run(tensors);
      results = returned instanceof Promise ? await returned : returned;
    } finally {
      engine.endScope(results.map(({tensor}) => tensor));
    }
    access.flush();
    return outcomeOf({access, log, watch, results, kept: engine.state.numTensors - before - results.length});
  } catch (error) {
    if (error instanceof HostReadError) return {kind: 'host', ops: watch.hostOps()};
    throw error;
  } finally {
    access.flush();
    watch.stop();
    log.stop();
    tf.dispose([...results.map(({tensor}) => tensor), ...tensors]);
  }
}

interface Run {
  readonly access: BackendAccess;
  readonly log: CommandLog;
  readonly watch: TensorWatch;
  readonly results: readonly NamedResult[];
  /** Tensors that the function made, did not return, and keeps. */
  readonly kept: number;
}

function outcomeOf({access, log, watch, results, kept}: Run): RecordOutcome {
  if (watch.hostOps().length > 0) return {kind: 'host', ops: watch.hostOps()};
  if (log.obstacle !== undefined) return {kind: 'obstacle', reason: `it contains ${log.obstacle}`};
  if (kept > 0) return {kind: 'obstacle', reason: `it keeps ${kept} new tensors at each call`};
  const outputs: RecordedOutput[] = [];
  for (const {name, tensor} of results) {
    const from = sourceOf(access, log, tensor);
    if (!from) return {kind: 'obstacle', reason: `its output '${name}' is of dtype ${tensor.dtype}`};
    outputs.push({name, shape: tensor.shape, dtype: tensor.dtype, from});
  }
  return {kind: 'recording', recording: {commands: log.commands, outputs, weights: watch.weights()}};
}

function sourceOf(
  access: BackendAccess,
  log: CommandLog,
  tensor: tf.Tensor,
): RecordedOutput['from'] | undefined {
  const buffer = access.bufferOf(tensor);
  if (buffer) return {kind: 'buffer', buffer: log.lifeOf(buffer)};
  const values = access.valuesOf(tensor);
  if (!values || tensor.dtype === 'string' || tensor.dtype === 'complex64') return undefined;
  return {kind: 'values', values: (values as tf.TypedArray).slice()}; // Only strings are stored otherwise.
}

/** Hooks the backend's reads, and notes which tensors from before the run are used. */
class TensorWatch {
  readonly #access: BackendAccess;
  readonly #log: CommandLog;
  readonly #hooks = new MethodHooks();
  readonly #used = new Set<object>();
  readonly #made = new WeakSet();
  readonly #kernels: string[] = [];
  readonly #hostOps = new Map<string, HostOp>();
  readonly #nodeAtWork: () => HostOp | undefined;
  #reads = 0;

  constructor(
    access: BackendAccess,
    log: CommandLog,
    known: KnownReads,
    nodeAtWork: () => HostOp | undefined = () => undefined,
  ) {
    this.#access = access;
    this.#log = log;
    this.#nodeAtWork = nodeAtWork;
    const {backend, tensorMap} = access;
    this.#hooks.replace(tensorMap, 'get', (get) => (dataId) => {
      this.#used.add(dataId);
      return get(dataId);
    });
    this.#hooks.replace(backend, 'write', (write) => (...args) => {
      const dataId = write(...args);
      this.#made.add(dataId);
      return dataId;
    });
    this.#hooks.replace(
      tf.engine(),
      'runKernel',
      (runKernel: (...args: never[]) => unknown) =>
        (...args: never[]) => {
          this.#kernels.push(String(args[0]));
          try {
            return runKernel(...args) as never; // runKernel is generic in its result; it passes through.
          } finally {
            this.#kernels.pop();
          }
        },
    );
    this.#hooks.replace(backend, 'read', (read) => (dataId) => {
      const buffer = this.#bufferToRead(dataId);
      if (buffer && log.dependsOnInput(buffer)) this.#noteHostOp();
      return read(dataId);
    });
    this.#hooks.replace(backend, 'readSync', (readSync) => (dataId) => {
      const buffer = this.#bufferToRead(dataId);
      return buffer ? this.#readSync(buffer, dataId, known) : readSync(dataId);
    });
  }

  stop(): void {
    this.#hooks.remove();
  }

  /** An input of the function is no weight. */
  ignore(dataId: object): void {
    this.#made.add(dataId);
  }

  hostOps(): readonly HostOp[] {
    return [...this.#hostOps.values()];
  }

  weights(): readonly RecordedWeight[] {
    const {tensorMap} = this.#access;
    const existing = [...this.#used].filter((dataId) => !this.#made.has(dataId) && tensorMap.has(dataId));
    return existing.map((dataId) => {
      const resource = tensorMap.get(dataId)?.resource;
      return {dataId, buffer: resource instanceof GPUBuffer ? resource : undefined};
    });
  }

  /** The buffer that a read of `dataId` would have to fetch; undefined where values are in main memory. */
  #bufferToRead(dataId: object): GPUBuffer | undefined {
    const data = this.#access.tensorMap.has(dataId) ? this.#access.tensorMap.get(dataId) : undefined;
    if (!data || data.values) return undefined;
    return data.resource instanceof GPUBuffer ? data.resource : undefined;
  }

  #readSync(buffer: GPUBuffer, dataId: object, known: KnownReads): tf.BackendValues {
    if (this.#log.dependsOnInput(buffer)) {
      this.#noteHostOp();
      throw new HostReadError();
    }
    const values = known.get(this.#reads++);
    if (values) return values;
    const dtype = this.#access.tensorMap.get(dataId)?.dtype ?? 'float32';
    const bytes = this.#access.backend.getBufferData(buffer);
    throw new ValuesNeeded(bytes.then((data) => tf.util.convertBackendValuesAndArrayBuffer(data, dtype)));
  }

  #noteHostOp(): void {
    const host = this.#nodeAtWork() ?? {op: this.#kernels.at(-1) ?? 'tensor.data()', node: undefined};
    this.#hostOps.set(`${host.op} ${host.node ?? ''}`, host);
  }
}
