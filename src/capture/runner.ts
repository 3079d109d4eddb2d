/** Three ways to run a prediction behind one face: replayed, replayed up to a cut, or plainly. */
import * as tf from '@tensorflow/tfjs-core';
import type {BackendAccess} from '../../kernels/webgpu/backend_access.js';
import type {ImageOptions} from './image_input.js';
import {levelRun} from './levels.js';
import {plainInputs} from './plain_inputs.js';
import type {Prepared} from './prepare.js';
import {readTensors} from './read_back.js';
import type {NamedResult} from './record.js';
import type {Replay} from './replay.js';
import type {OpenSource, Run} from './source.js';
import type {CaptureInput, HostValues, NamedSpec} from './values.js';

export interface Runner {
  /** Whether predictions must wait for the GPU in between. */
  readonly isAsync: boolean;
  tensors(inputs: readonly CaptureInput[]): tf.Tensor[];
  tensorsAsync(inputs: readonly CaptureInput[]): Promise<tf.Tensor[]>;
  values(inputs: readonly CaptureInput[]): Promise<tf.TypedArray[]>;
  dispose(): void;
}

export interface RunnerRequest {
  readonly access: BackendAccess | undefined;
  readonly prepared: Prepared;
  readonly source: OpenSource;
  readonly specs: readonly NamedSpec[];
  readonly examples: readonly HostValues[];
  readonly image: ImageOptions;
}

export interface Described {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: tf.DataType;
}

/** The runner, and its outputs; where a recording did not tell them, by running once. */
export async function openRunner(
  request: RunnerRequest,
): Promise<{runner: Runner; outputs: readonly Described[]}> {
  const {access, prepared, source, specs, examples, image} = request;
  if (prepared.mode === 'replay')
    return {runner: replayRunner(prepared.replay), outputs: prepared.replay.outputs};
  const replay = prepared.mode === 'segments' ? prepared.replay : undefined;
  const {graph} = source;
  const owned = examples.map(({values, shape, dtype}) => tf.tensor(values, [...shape], dtype));
  try {
    const plain =
      access && graph && !replay
        ? await levelRun(access, graph, {feeds: graph.inputs, examples: owned})
        : source.run;
    const run = prepared.mode === 'segments' ? prepared.rest : plain;
    const fed = replay ? replay.tensors(owned) : owned;
    if (replay) owned.push(...fed);
    const {results, isAsync} = await runOnce(run, fed);
    owned.push(...results.map(({tensor}) => tensor));
    const outputs = results.map(({name, tensor: {shape, dtype}}) => ({name, shape, dtype}));
    const feed = replay
      ? (list: readonly CaptureInput[]) => replay.tensors(list)
      : (list: readonly CaptureInput[]) => plainInputs(specs, list, {access, image});
    return {runner: new PlainRunner({access, run, isAsync, feed, replay}), outputs};
  } finally {
    tf.dispose(owned);
  }
}

/** With everything disposed that it leaves behind. Nothing else may run meanwhile. */
async function runOnce(
  run: Run,
  inputs: readonly tf.Tensor[],
): Promise<{results: NamedResult[]; isAsync: boolean}> {
  const engine = tf.engine();
  let results: NamedResult[] = [];
  engine.startScope('capture');
  try {
    const returned = run(inputs);
    results = await returned;
    return {results, isAsync: returned instanceof Promise};
  } finally {
    engine.endScope(results.map(({tensor}) => tensor));
  }
}

function replayRunner(replay: Replay): Runner {
  return {
    isAsync: false,
    tensors: (inputs) => replay.tensors(inputs),
    tensorsAsync: (inputs) => replay.tensorsAsync(inputs),
    values: (inputs) => replay.values(inputs),
    dispose: () => replay.dispose(),
  };
}

interface PlainParts {
  readonly access: BackendAccess | undefined;
  readonly run: Run;
  readonly isAsync: boolean;
  /** Tensors for `run`, all of them new. */
  readonly feed: (inputs: readonly CaptureInput[]) => tf.Tensor[];
  readonly replay: Replay | undefined;
}

class PlainRunner implements Runner {
  readonly #parts: PlainParts;

  constructor(parts: PlainParts) {
    this.#parts = parts;
  }

  get isAsync(): boolean {
    return this.#parts.isAsync;
  }

  tensors(inputs: readonly CaptureInput[]): tf.Tensor[] {
    const {feed, run} = this.#parts;
    const fed = feed(inputs);
    try {
      // A scope, so that intermediate tensors of a function without tidy go. `isAsync` is false, so this is a list.
      return tf.tidy(() => (run(fed) as NamedResult[]).map(({tensor}) => tensor));
    } finally {
      tf.dispose(fed);
    }
  }

  async tensorsAsync(inputs: readonly CaptureInput[]): Promise<tf.Tensor[]> {
    const {feed, run, isAsync} = this.#parts;
    if (!isAsync) return this.tensors(inputs);
    const fed = feed(inputs);
    try {
      return (await run(fed)).map(({tensor}) => tensor);
    } finally {
      tf.dispose(fed);
    }
  }

  async values(inputs: readonly CaptureInput[]): Promise<tf.TypedArray[]> {
    const {access} = this.#parts;
    const tensors = await this.tensorsAsync(inputs);
    try {
      return access
        ? await readTensors(access, tensors)
        : await Promise.all(tensors.map((tensor) => tensor.data()));
    } finally {
      tf.dispose(tensors);
    }
  }

  dispose(): void {
    this.#parts.replay?.dispose();
  }
}
