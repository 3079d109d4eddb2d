/** Reads a layer's configuration in Keras's JSON, where numbers may be pairs and anything may be missing. */
import {LayersError} from './layers_error.js';

export type Config = Readonly<Record<string, unknown>>;

export const textOf = (config: Config, key: string, otherwise: string): string => {
  const value = config[key];
  if (value === undefined || value === null) return otherwise;
  if (typeof value === 'string') return value;
  // Activations and the like may be objects with a class name.
  const name = (value as {class_name?: unknown}).class_name;
  if (typeof name === 'string') return name;
  throw new LayersError(`'${key}' is ${JSON.stringify(value)}, which is no name.`);
};

export const numberOf = (config: Config, key: string, otherwise: number): number => {
  const value = config[key];
  return typeof value === 'number' ? value : otherwise;
};

export const flagOf = (config: Config, key: string, otherwise: boolean): boolean => {
  const value = config[key];
  return typeof value === 'boolean' ? value : otherwise;
};

/** `n` or `[n]` or `[h, w]`; null where absent. */
export function pairOf(config: Config, key: string): readonly [number, number] | undefined {
  const value = config[key];
  if (typeof value === 'number') return [value, value];
  if (!Array.isArray(value)) return undefined;
  const [h, w] = value as readonly number[];
  return h === undefined ? undefined : [h, w ?? h];
}

/** Keras's three ways of saying how much to pad or crop: n, [h, w], [[top, bottom], [left, right]]. */
export function edgesOf(config: Config, key: string): readonly [number, number, number, number] {
  const value = config[key];
  if (typeof value === 'number') return [value, value, value, value];
  const [rows, columns] = value as readonly (number | readonly [number, number])[];
  const both = (side: number | readonly [number, number] | undefined): readonly [number, number] =>
    typeof side === 'number' ? [side, side] : (side ?? [0, 0]);
  return [...both(rows), ...both(columns)];
}

export function sizesOf(config: Config, key: string): readonly (number | null)[] | undefined {
  const value = config[key];
  return Array.isArray(value) ? (value as readonly (number | null)[]) : undefined;
}

export interface LayerConfig {
  readonly name?: string;
  readonly class_name: string;
  readonly config: Config;
  readonly inbound_nodes?: readonly (readonly unknown[])[];
}
