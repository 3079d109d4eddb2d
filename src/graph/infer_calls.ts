/** Shapes across If and While: of what the bodies are given over all calls, and of what they give. */
import type {AttrDef} from './attrs.js';
import {type Call, callsOf, isLoop} from './functions.js';
import type {Node} from './graph.js';
import type {Shape} from './infer.js';
import {joined} from './joined_shapes.js';

type Shapes = readonly (Shape | undefined)[];

const all = (a: Shapes, b: Shapes): Shapes => a.map((shape, i) => joined(shape, b[i]));

const isSame = (a: Shapes, b: Shapes): boolean => a.every((shape, i) => shape?.join() === b[i]?.join());

/** What the functions are given, over all calls that were met. */
export class Arguments {
  readonly #given = new Map<string, Shapes>();

  of(name: string): Shapes {
    return this.#given.get(name) ?? [];
  }

  add(name: string, shapes: Shapes): void {
    const before = this.#given.get(name);
    this.#given.set(name, before ? all(before, shapes) : shapes);
  }
}

/** What the converter wrote on the node, where no operand says. */
function declared(attr: AttrDef | undefined, i: number): Shape | undefined {
  const shape = attr?.list?.shape?.[i];
  return shape && !shape.unknownRank ? (shape.dim ?? []).map(({size}) => Number(size ?? 0)) : undefined;
}

/**
 * The shapes of a node's outputs.
 * @param run The shapes that a function gives for those of its arguments; undefined for a function that is not there.
 */
export function inferCall(
  node: Node,
  shapeOf: (at: number) => Shape | undefined,
  known: Arguments,
  run: (name: string, shapes: Shapes) => Shapes | undefined,
): Shapes {
  const [first, second] = callsOf(node) as [Call, Call]; // A node of control flow runs two functions.
  const offset = node.inputs.length - first.args.length;
  const attr = node.attrs['output_shapes'];
  const operands = first.args.map((_, i) => shapeOf(i + offset));
  if (!isLoop(node)) {
    const branches = [first, second].map(({name}) => {
      known.add(name, operands);
      return run(name, operands);
    });
    const [a, b] = branches;
    return a && b ? all(a, b).map((shape, i) => shape ?? declared(attr, i)) : [];
  }
  let turn: Shapes = operands.map((shape, i) => shape ?? declared(attr, i));
  for (;;) {
    const given = run(second.name, turn);
    if (!given) return [];
    const next = all(
      turn,
      given.map((shape, i) => shape ?? declared(attr, i)),
    );
    if (isSame(turn, next)) break;
    turn = next;
  }
  known.add(first.name, turn);
  known.add(second.name, turn);
  run(first.name, turn);
  return turn;
}
