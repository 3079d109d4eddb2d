/** What a file must satisfy that the running TF.js need not be asked about: for models that have not been loaded yet. */
import {BLOCK_KINDS} from './block_node.js';
import type {Graph} from './graph.js';
import {TFJS_OPS} from './known_ops.js';
import {ModelError} from './model_error.js';

/** @throws {ModelError} for an op that neither TF.js nor this package runs. */
export function checkOps(graph: Graph): void {
  const known = (op: string): boolean => TFJS_OPS.has(op) || BLOCK_KINDS.has(op);
  const unknown = [...graph.nodes.values()].find(({op}) => !known(op));
  if (unknown) {
    throw new ModelError(
      `The node '${unknown.name}' has the op '${unknown.op}', which TensorFlow.js does not run; convert the model without it, or register the op.`,
    );
  }
}
