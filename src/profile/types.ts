/** The records the profiler hands out. Plain data: they pass through JSON, and every output is a pure function of them. */

/** What ran the model, and what about it limits the numbers. */
export interface Adapter {
  readonly backend: string;
  /** One line, e.g. `nvidia hopper: NVIDIA H200`. */
  readonly name: string;
  /** A CPU rasteriser: results count, times do not. */
  readonly isSoftware: boolean;
  readonly timer: Timer;
}

/** `timestamp-query` reads the GPU's own clock; `wall-clock` waits for each op on the host and so includes the waiting. */
export type Timer = 'timestamp-query' | 'wall-clock';

/** When something ran, in ms since the run began; GPU times are aligned to the host's clock by the first read-back. */
export interface Span {
  readonly start: number;
  readonly duration: number;
}

/** One node or layer. Times are medians over the repeats, in ms; `null` is "could not be measured", never 0. */
export interface OpRow {
  readonly name: string;
  /** TF op, layer class, or block kind. */
  readonly op: string;
  readonly isBlock: boolean;
  readonly inputShapes: readonly (readonly number[])[];
  readonly weightShapes: readonly (readonly number[])[];
  readonly outputShapes: readonly (readonly number[])[];
  readonly dispatches: number | null;
  readonly gpuMs: number | null;
  /** From the call to the end of the op's work on the device, host and queue included. */
  readonly wallMs: number;
  /** Until the call returned: what TF.js spends to check, allocate and encode. */
  readonly hostMs: number;
  readonly macs: number;
  /** Each input, weight and output moved once; 0 for an op that only renames or reshapes. */
  readonly bytes: number;
  /** Operations per byte, 1 MAC = 2 operations; 0 where nothing is multiplied. */
  readonly intensity: number;
  /** The last run in which ops were queued without waiting for one another. */
  readonly cpu: Span;
  readonly gpu: Span | null;
}

export interface Totals {
  readonly ops: number;
  readonly dispatches: number | null;
  readonly gpuMs: number | null;
  readonly wallMs: number;
  readonly hostMs: number;
  readonly macs: number;
  readonly bytes: number;
}

export interface Profile {
  readonly model: string;
  readonly adapter: Adapter;
  readonly repeats: number;
  readonly warmup: number;
  /** In the order of execution. */
  readonly rows: readonly OpRow[];
  readonly totals: Totals;
  readonly peaks: Peaks | null;
  /** What a reader must know before believing a number; shown above everything else. */
  readonly warnings: readonly string[];
}

export interface PeakSample {
  /** Operations of the dispatch, or bytes read plus bytes written. */
  readonly amount: number;
  readonly ms: number;
  readonly perSecond: number;
}

/** Ceilings measured on this device in float32, never taken from a datasheet. */
export interface Peaks {
  /** Best of the FMA kernel's sizes; an FMA is two operations. */
  readonly operationsPerSecond: number;
  /** The copy kernel's largest size, which no cache holds; bytes read plus bytes written. */
  readonly bytesPerSecond: number;
  /** Operations per byte above which compute, not memory, is the limit. */
  readonly waterline: number;
  readonly timer: Timer;
  /** Step of the GPU's clock in ns, from the timestamps seen; `null` with the wall clock. */
  readonly timestampStepNs: number | null;
  readonly compute: readonly PeakSample[];
  readonly copy: readonly PeakSample[];
}

/** A median with its 95 % bootstrap interval. */
export interface Estimate {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

/** Largest errors of one tensor against another; relative to the largest expected magnitude. NaN counts as infinite. */
export interface Difference {
  readonly name: string;
  readonly shape: readonly number[];
  readonly absolute: number;
  readonly relative: number;
}

/** One side's time for the same work. `gpu` is `null` without timestamps. */
export interface SideTiming {
  readonly dispatches: number | null;
  readonly gpu: Estimate | null;
  /** Call to end of the work on the device. */
  readonly wall: Estimate;
}

export interface BlockComparison {
  readonly name: string;
  readonly kind: string;
  readonly input: string;
  readonly inputShape: readonly number[];
  readonly outputShape: readonly number[];
  /** Ops or layers that the block replaced. */
  readonly replaced: readonly string[];
  readonly before: SideTiming;
  readonly after: SideTiming;
  /** before / after, of GPU times where there are any, else of wall times. */
  readonly speedup: Estimate;
  readonly macs: number;
  /** When each stage is a kernel of its own, and when the block is one. */
  readonly bytesByStage: number;
  readonly bytesFused: number;
  readonly difference: Difference;
}

/** The best-scored entries of one row of a classifier's output. */
export interface TopClass {
  readonly label: string;
  readonly score: number;
}

export interface Comparison {
  readonly model: string;
  readonly adapter: Adapter;
  readonly repeats: number;
  readonly before: Profile;
  readonly after: Profile;
  readonly blocks: readonly BlockComparison[];
  /** The whole model, from input tensors to the end of the work on the device. */
  readonly total: {readonly before: SideTiming; readonly after: SideTiming; readonly speedup: Estimate};
  readonly outputs: readonly Difference[];
  /** `null` where no output looks like class scores. */
  readonly classes: {readonly before: readonly TopClass[]; readonly after: readonly TopClass[]} | null;
  readonly warnings: readonly string[];
}
