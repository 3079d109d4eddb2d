/** Prelu and leaky relu as arithmetic, in the ways converters leave it. */
import {behindExpand, HIDDEN, type RuleCase} from '../support/spelled_blocks.js';
import type {TestGraph} from '../support/test_graph.js';

type Spell = (g: TestGraph, x: string) => string;

const up: Spell = (g, x) => g.op('up', 'Relu', [x]);
/** relu(−x). */
const down: Spell = (g, x) => g.op('down', 'Relu', [g.op('minus', 'Neg', [x])]);
const lower: Spell = (g, x) => g.op('lower', 'Minimum', [x, g.constant('zero', 0)]);
const halfLess: Spell = (g, x) => g.op('less', 'Sub', [x, g.op('abs', 'Abs', [x])]);

const sloped =
  (of: Spell): Spell =>
  (g, x) =>
    g.op('slope', 'Mul', [g.weight('alpha', [HIDDEN]), of(g, x)]);
const scaled =
  (of: Spell, by: number, name = 'scaled'): Spell =>
  (g, x) =>
    g.op(name, 'Mul', [g.constant(`${name}/k`, by), of(g, x)]);
const joined =
  (op: 'AddV2' | 'Sub', a: Spell, b: Spell): Spell =>
  (g, x) =>
    g.op('act', op, [a(g, x), b(g, x)]);

const row = (rule: string, how: string, spell: Spell): RuleCase => ({rule, how, build: behindExpand(spell)});

export const PRELU_CASES: readonly RuleCase[] = [
  row('relu of minus x', 'alone', down),
  row('prelu by two parts', 'two relus', joined('AddV2', up, sloped(down))),
  row('prelu by two parts', 'minimum', joined('AddV2', up, sloped(lower))),
  row('prelu by a difference', 'two relus', joined('Sub', up, sloped(down))),
  row('x less its magnitude', 'prelu', joined('AddV2', up, sloped(scaled(halfLess, 0.5)))),
  row('gains of an activation', 'half of the slope', joined('AddV2', up, scaled(sloped(halfLess), 0.5))),
  row(
    'x and its magnitude',
    'prelu',
    joined(
      'AddV2',
      scaled((g, x) => g.op('twice', 'AddV2', [x, g.op('magnitude', 'Abs', [x])]), 0.5, 'halved'),
      sloped(lower),
    ),
  ),
  row('leaky relu by two parts', 'two relus', joined('AddV2', scaled(down, -0.3), up)),
  row('leaky relu by two parts', 'minimum', joined('AddV2', up, scaled(lower, 0.2))),
  row('leaky relu by a difference', 'two relus', joined('Sub', up, scaled(down, 0.3))),
];
