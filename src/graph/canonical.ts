/** Applies the rule tables, phase by phase, until nothing changes. */
import type {CanonicalNode} from './forms.js';
import type {Overlay} from './overlay.js';
import {matchesOf} from './pattern.js';
import {PHASES} from './rules/index.js';
import type {Rule} from './rules/rule.js';

/** @param applied Told of each rule that was applied, and where. */
export function canonicalise(overlay: Overlay, applied?: (rule: string, at: string) => void): void {
  for (const phase of PHASES) runPhase(overlay, phase, applied);
}

function runPhase(
  overlay: Overlay,
  rules: readonly Rule[],
  applied?: (rule: string, at: string) => void,
): void {
  const byOp = new Map<string, Rule[]>();
  for (const rule of rules) {
    for (const op of rule.pattern.ops) byOp.set(op, [...(byOp.get(op) ?? []), rule]);
  }
  let names = [...overlay.nodes.keys()];
  while (names.length > 0) {
    const changed = new Set<string>();
    for (const name of names) {
      for (let node = overlay.nodes.get(name), used; node; node = overlay.nodes.get(name)) {
        used = applyFirst(overlay, byOp.get(node.op) ?? [], node);
        if (!used) break;
        applied?.(used.name, name);
        for (const reader of overlay.consumers(name)) changed.add(reader);
      }
    }
    names = [...overlay.nodes.keys()].filter((name) => changed.has(name));
  }
}

function applyFirst(overlay: Overlay, rules: readonly Rule[], node: CanonicalNode): Rule | undefined {
  for (const rule of rules) {
    for (const match of matchesOf(overlay, rule.pattern, node)) {
      const replacement = rule.to(match);
      if (!replacement) continue;
      overlay.replace(node, replacement, match.inner);
      return rule;
    }
  }
  return undefined;
}
