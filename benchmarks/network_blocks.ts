/** The distinct blocks of a network, by the name that programs take. */
import {blockKey} from '../kernels/webgpu/choices.js';
import {buildGraphModel, findArchitecture, makeNetwork} from '../models/index.js';
import {convert} from '../src/convert/convert.js';
import {fusedBlocks} from '../src/graph/index.js';
import {type NetworkBlock, NETWORKS} from './networks.js';

/** Those of networks.ts, or what `fuse` finds in an architecture of models/ at 224×224. */
export const blocksOf = async (name: string): Promise<readonly NetworkBlock[]> =>
  NETWORKS[name] ?? blocksOfArchitecture(name);

async function blocksOfArchitecture(name: string): Promise<readonly NetworkBlock[]> {
  const network = makeNetwork(findArchitecture(name));
  const zeros = ({shape}: {shape: readonly number[]}): Float32Array =>
    new Float32Array(shape.reduce((a, b) => a * b, 1));
  const {artifacts} = convert(await buildGraphModel(network, zeros, {size: 224}));
  const distinct = new Map<string, NetworkBlock>();
  for (const {name: at, block, input} of fusedBlocks(artifacts)) {
    const key = blockKey(block, input);
    const known = distinct.get(key);
    distinct.set(key, {name: known?.name ?? at, block, input, count: (known?.count ?? 0) + 1});
  }
  return [...distinct.values()];
}
