/** The phases of canonical form. Within one, the order of rows matters only where two fit the same node; the first wins. */
import {ACTIVATIONS} from './activations.js';
import {ALONE} from './alone.js';
import {FOLDING} from './folding.js';
import {GATES} from './gates.js';
import {HEADS} from './heads.js';
import {JOINS} from './joins.js';
import {NORMS} from './norms.js';
import {PATH_JOINS} from './paths.js';
import {POOLS} from './pools.js';
import {REARRANGED} from './rearranged.js';
import {RESPONSES} from './responses.js';
import {SPELLING} from './spelling.js';
import type {Rule} from './rule.js';

/**
 * First each op by itself, then activations (an `x + 3` of a hard-swish must not be taken for a bias), then norms (whose sums
 * are no residuals), then convolutions with all that belongs to them, then what is made of several convolutions, and last what
 * no convolution took. A later phase may make room for an earlier rule, so convolutions are folded again around gates, and
 * around what was left over.
 */
export const PHASES: readonly (readonly Rule[])[] = [
  SPELLING,
  ACTIVATIONS,
  [...NORMS, ...RESPONSES],
  [...JOINS, ...PATH_JOINS, ...REARRANGED, ...FOLDING, ...GATES, ...HEADS],
  [...FOLDING, ...ALONE, ...POOLS],
];
