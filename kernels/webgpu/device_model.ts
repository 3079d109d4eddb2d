/** A device as the estimates see it: four figures and its limits, plain data, so that plans can be explained without a GPU. */
import type {DeviceLimits} from './tiling.js';

export interface DeviceModel {
  readonly name: string;
  /** float32, 1 FMA = 2 operations. */
  readonly operationsPerSecond: number;
  /** Of a copy in device memory, bytes read and bytes written. */
  readonly bytesPerSecond: number;
  /** Microseconds until a dispatch that waited for the one before it has begun. */
  readonly launchMicroseconds: number;
  readonly limits: DeviceLimits;
}

/**
 * Bandwidth and launch measured (npm `webgpu` 0.6.2, driver 580); the arithmetic is the data sheet's peak, of which the best
 * matrix product in WGSL reaches two thirds.
 */
export const H200: DeviceModel = {
  name: 'NVIDIA H200',
  operationsPerSecond: 67e12,
  bytesPerSecond: 4.1e12,
  launchMicroseconds: 2.3,
  limits: {maxComputeInvocationsPerWorkgroup: 1024, maxComputeWorkgroupStorageSize: 49152, processors: 132},
};

/** Threads that hide a processor's latencies, each with several loads in flight. Not measured. */
const FULL_PROCESSOR = 512;

export interface Load {
  /** Operations, each load from a cache counted as what could have been computed meanwhile. */
  readonly operations: number;
  readonly workgroups: number;
  readonly workgroup: number;
}

/** Microseconds the processors take: the last wave of workgroups is not full, and few threads hide little latency. */
export function processorTime(load: Load, {operationsPerSecond, limits: {processors}}: DeviceModel): number {
  const perProcessor = Math.ceil(load.workgroups / processors);
  const balance = load.workgroups / (perProcessor * processors);
  const fill = Math.min(1, (perProcessor * load.workgroup) / FULL_PROCESSOR);
  return (1e6 * load.operations) / (operationsPerSecond * balance * fill);
}
