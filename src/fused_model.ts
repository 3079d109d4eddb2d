/** What `fuse` returns: a model with the methods of the one it came from, and the report of what became of it. */
import {pinWeights, tunedOf, unpinWeights} from '../kernels/webgpu/index.js';
import type {TunedPlans} from '../kernels/webgpu/tuned.js';
import type {GraphModel} from '@tensorflow/tfjs-converter';
import type * as tf from '@tensorflow/tfjs-core';
import type {LayersModel} from '@tensorflow/tfjs-layers';
import {type Capture, capture, type CaptureOptions, type ExampleInputs} from './capture/index.js';
import type {Report} from './graph/index.js';
import {explainModel, type ExplainModelOptions} from './tune/explain_model.js';
import type {Explanation} from './tune/explanation.js';
import {currentWebGPU} from './tune/measure_device.js';
import {tuneModel, type TuneOptions, type TuneReport} from './tune/tune.js';
import {warmUp, type WarmupOptions} from './warmup.js';

type Inputs = tf.Tensor | tf.Tensor[] | tf.NamedTensorMap;
type Outputs = tf.Tensor | tf.Tensor[] | tf.NamedTensorMap;

export interface FusedModelOptions {
  /** The model belongs to someone else, so dispose() leaves it alone. */
  readonly isBorrowed?: boolean;
  /** Of all blocks: the packed form that kernels make of them is kept as long as the model lives. */
  readonly blockWeights?: readonly tf.Tensor[];
}

/** Behind it is a rewritten GraphModel; only where a layers model could not be read as a graph, that model itself. */
export class FusedModel implements tf.InferenceModel {
  /** What was fused, what was not, and why. */
  readonly report: Report;
  readonly #model: GraphModel | LayersModel;
  readonly #isBorrowed: boolean;
  readonly #blockWeights: readonly tf.Tensor[];

  constructor(
    model: GraphModel | LayersModel,
    report: Report,
    {isBorrowed = false, blockWeights = []}: FusedModelOptions = {},
  ) {
    this.#model = model;
    this.report = report;
    this.#isBorrowed = isBorrowed;
    this.#blockWeights = blockWeights;
    pinWeights(blockWeights);
  }

  get inputs(): tf.ModelTensorInfo[] {
    return this.#model.inputs as tf.ModelTensorInfo[];
  }

  get outputs(): tf.ModelTensorInfo[] {
    return this.#model.outputs as tf.ModelTensorInfo[];
  }

  /** Names of the default outputs, as `execute` takes them. */
  get outputNodes(): string[] {
    return 'outputNodes' in this.#model ? this.#model.outputNodes : this.#model.outputNames;
  }

  get inputNodes(): string[] {
    return 'inputNodes' in this.#model ? this.#model.inputNodes : this.#model.inputNames;
  }

  /** The user's own metadata, as the original has them. */
  get metadata(): object {
    return 'metadata' in this.#model ? this.#model.metadata : this.#model.getUserDefinedMetadata();
  }

  /** As the original's `predict`. @throws where the graph has control flow: then use executeAsync or predictAsync. */
  predict(inputs: Inputs, config: tf.ModelPredictConfig = {}): Outputs {
    return this.#model.predict(inputs as tf.Tensor, config);
  }

  async predictAsync(inputs: Inputs, config: tf.ModelPredictConfig = {}): Promise<Outputs> {
    return 'predictAsync' in this.#model
      ? this.#model.predictAsync(inputs, config)
      : this.predict(inputs, config);
  }

  /** As GraphModel's: any node's value by name, if no block swallowed it; `keep` of fuse's options forbids that. */
  execute(inputs: Inputs, outputs?: string | string[]): tf.Tensor | tf.Tensor[] {
    return this.#model.execute(inputs, outputs as string);
  }

  async executeAsync(inputs: Inputs, outputs?: string | string[]): Promise<tf.Tensor | tf.Tensor[]> {
    return 'executeAsync' in this.#model
      ? this.#model.executeAsync(inputs, outputs)
      : this.execute(inputs, outputs);
  }

  /**
   * Compiles what a prediction needs, so that the first one takes no longer than the next: on WebGPU the blocks' pipelines side by
   * side, then one prediction for all the rest, and on a GPU more of them, for 1.5 s at most, until they take no longer than later
   * ones will. A later call for other shapes compiles what those need besides.
   * @param inputs as `predict` takes them; not disposed. Without them zeros are fed, batch 1 where the model leaves it open.
   * @throws where no inputs are given and the model leaves a size other than the batch open.
   */
  async warmup(inputs?: Inputs, options: WarmupOptions = {}): Promise<void> {
    await warmUp(this, inputs, options);
  }

  /**
   * The plan of each block on the current WebGPU device: dispatches with kernel, tile, operations, bytes, what the estimate says
   * they take and what bounds it, and the tiles that were not chosen. `toString()` of the result is for a person.
   * @param inputs as for warmup. @throws where the current backend is not WebGPU.
   */
  explain(inputs?: Inputs, options: ExplainModelOptions = {}): Promise<Explanation> {
    return explainModel(this, inputs, options);
  }

  /**
   * Measures the candidates of every kernel problem of the model at these shapes, and each block against the stock ops it
   * replaced; predictions that follow use the winners, captures made before do not. A tile must win by itself and make the
   * dispatches of all blocks together faster. Takes seconds to minutes; nothing else may use TF.js meanwhile. Nothing that is known
   * already is measured again.
   * @param inputs as for warmup. @throws where the current backend is not WebGPU.
   */
  tune(inputs?: Inputs, options: TuneOptions = {}): Promise<TuneReport> {
    return tuneModel(this, inputs, options);
  }

  /** What was measured on the current WebGPU device, by any model; `JSON.stringify` of it is a tuned file for `loadTuned`. */
  get tuned(): TunedPlans {
    return tunedOf(currentWebGPU('tuned').device);
  }

  /**
   * Records the GPU commands of one prediction and repeats them with one submit per call.
   * @param inputs of the shapes the capture is for, as `predict` takes them.
   */
  capture(inputs: ExampleInputs, options: CaptureOptions = {}): Promise<Capture> {
    return capture(this.#model, inputs, options);
  }

  /** Loading what was saved needs `registerBlockKernels()` first. */
  save(handlerOrURL: tf.io.IOHandler | string, config?: tf.io.SaveConfig): Promise<tf.io.SaveResult> {
    return this.#model.save(handlerOrURL, config);
  }

  dispose(): void {
    unpinWeights(this.#blockWeights);
    if (!this.#isBorrowed) this.#model.dispose();
  }
}
