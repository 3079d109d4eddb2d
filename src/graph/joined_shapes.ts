import type {Shape} from './infer.js';

/** What is common to two shapes: a size that differs is open, a rank that differs is unknown. */
export const joined = (a: Shape | undefined, b: Shape | undefined): Shape | undefined =>
  a && b && a.length === b.length ? a.map((size, axis) => (size === b[axis] ? size : -1)) : undefined;
