/**
 * The waterline model of Lavin, "On the Efficiency of Convolutional Neural Networks": the roofline applied to a sequence of
 * kernels. Kernels follow one another; inside one, arithmetic and memory overlap perfectly. So a kernel takes at least
 * max(operations / peak, bytes / bandwidth), one whose operations per byte lie under the device's op:byte ratio is bound by
 * memory ("submerged"), and kernels above the water cannot lend it bandwidth.
 */
import type {OpRow, Peaks} from './types.js';

export interface WaterlineBar {
  readonly name: string;
  readonly op: string;
  readonly isBlock: boolean;
  readonly operations: number;
  readonly bytes: number;
  readonly intensity: number;
  readonly isSubmerged: boolean;
  /** max(operations / peak, bytes / bandwidth), in ms. */
  readonly attainableMs: number;
  /** GPU time where there is one, else wall time, in ms. */
  readonly measuredMs: number;
}

export interface Waterline {
  readonly ratio: number;
  /** Ops that move bytes, in order. */
  readonly bars: readonly WaterlineBar[];
  /** Operations / peak: the latency at efficiency 1. */
  readonly idealMs: number;
  readonly attainableMs: number;
  readonly measuredMs: number;
  /** ideal / attainable: the best efficiency this sequence of kernels allows. */
  readonly attainableEfficiency: number;
  /** ideal / measured. */
  readonly measuredEfficiency: number;
  /** What the roofline of the whole network would allow; never less than attainableEfficiency. */
  readonly rooflineEfficiency: number;
}

export function waterlineOf(rows: readonly OpRow[], peaks: Peaks): Waterline {
  const bars = rows.filter(({bytes}) => bytes > 0).map((row) => barOf(row, peaks));
  const sum = (of: (bar: WaterlineBar) => number): number => bars.reduce((total, bar) => total + of(bar), 0);
  const operations = sum((bar) => bar.operations);
  const idealMs = (operations / peaks.operationsPerSecond) * 1000;
  const attainableMs = sum((bar) => bar.attainableMs);
  const measuredMs = rows.reduce((total, row) => total + msOf(row), 0);
  const networkIntensity = operations / sum((bar) => bar.bytes);
  return {
    ratio: peaks.waterline,
    bars,
    idealMs,
    attainableMs,
    measuredMs,
    attainableEfficiency: idealMs / attainableMs,
    measuredEfficiency: idealMs / measuredMs,
    rooflineEfficiency: Math.min(1, networkIntensity / peaks.waterline),
  };
}

function barOf(row: OpRow, {operationsPerSecond, bytesPerSecond, waterline}: Peaks): WaterlineBar {
  const operations = 2 * row.macs;
  return {
    name: row.name,
    op: row.op,
    isBlock: row.isBlock,
    operations,
    bytes: row.bytes,
    intensity: row.intensity,
    isSubmerged: row.intensity < waterline,
    attainableMs: Math.max(operations / operationsPerSecond, row.bytes / bytesPerSecond) * 1000,
    measuredMs: msOf(row),
  };
}

/** The time that stands for an op on a plot: the GPU's where it is known. */
export const msOf = ({gpuMs, wallMs}: OpRow): number => gpuMs ?? wallMs;
