/** Where to cut a graph that has ops on the host: everything before them is captured, the rest runs plainly. */
import type {GraphNode, ModelGraph} from './graph_access.js';

export interface CutRequest {
  readonly graph: ModelGraph;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Nodes that must not be captured. */
  readonly host: ReadonlySet<string>;
}

/** Nodes whose results the captured part hands to the rest. Empty where nothing can be captured. */
export function cutNodes(request: CutRequest): string[] {
  const {graph, inputs, outputs} = request;
  const used = usedNodes(graph, inputs, outputs);
  const weights = new Set(graph.weights.map(({name}) => name));
  const returned = new Set(outputs.map(baseName));
  const frames = loopFrames(used);
  const blocked = new Set(request.host);
  for (;;) {
    spread(blocked, used, frames);
    const cut = used.filter(
      ({name, children}) =>
        !blocked.has(name) &&
        !weights.has(name) &&
        (returned.has(name) || children.some((child) => blocked.has(child.name))),
    );
    const unfit = cut.filter((node) => !canBeFed(node, {inputs, frames}));
    if (unfit.length === 0) return cut.map(({name}) => name);
    for (const {name} of unfit) blocked.add(name);
  }
}

const baseName = (input: string): string => input.replace(/^\^/, '').replace(/:\d+$/, '');

function usedNodes(graph: ModelGraph, inputs: readonly string[], outputs: readonly string[]): GraphNode[] {
  const used = new Set<GraphNode>();
  const queue = outputs.map((name) => graph.nodes[baseName(name)]);
  for (let node = queue.pop(); node; node = queue.pop()) {
    if (used.has(node)) continue;
    used.add(node);
    if (!inputs.includes(node.name)) queue.push(...node.inputs);
  }
  return [...used];
}

/** The nodes inside each loop, by the name of its frame: a value in there has no meaning outside. */
function loopFrames(used: readonly GraphNode[]): ReadonlyMap<string, ReadonlySet<GraphNode>> {
  const frames = new Map<string, Set<GraphNode>>();
  for (const enter of used.filter(({op}) => op === 'Enter')) {
    const frame = enter.attrParams['frameName']?.value;
    const name = typeof frame === 'string' ? frame : '';
    const members = frames.get(name) ?? new Set<GraphNode>();
    frames.set(name, members);
    const queue = [enter];
    for (let node = queue.pop(); node; node = queue.pop()) {
      if (members.has(node)) continue;
      members.add(node);
      if (node.op !== 'Exit') queue.push(...node.children);
    }
  }
  return frames;
}

/** Whatever follows from a blocked node is blocked; a loop is captured whole or not at all. */
function spread(
  blocked: Set<string>,
  used: readonly GraphNode[],
  frames: ReadonlyMap<string, ReadonlySet<GraphNode>>,
): void {
  for (let before = -1; before < blocked.size;) {
    before = blocked.size;
    for (const {name, inputs} of used) if (inputs.some((input) => blocked.has(input.name))) blocked.add(name);
    for (const members of frames.values()) {
      const inside = [...members].filter(({op}) => op !== 'Exit');
      if (inside.some(({name}) => blocked.has(name))) for (const {name} of members) blocked.add(name);
    }
  }
}

/** `execute` takes a value for the first output of a node, and none for a node inside a loop. */
function canBeFed(
  node: GraphNode,
  {inputs, frames}: {inputs: readonly string[]; frames: ReadonlyMap<string, ReadonlySet<GraphNode>>},
): boolean {
  if (inputs.includes(node.name)) return true;
  const isInLoop = [...frames.values()].some((members) => node.op !== 'Exit' && members.has(node));
  const others = node.children.flatMap(({inputNames}) =>
    inputNames.filter((input) => baseName(input) === node.name && /^\^|:[1-9]\d*$/.test(input)),
  );
  return !isInLoop && others.length === 0 && node.category !== 'control';
}
