/** The report of a model whose control flow runs functions: each has one of its own, under its name. */
import type {Counted, ReportData} from './report.js';

/** A node of a function. */
export const nameIn = (name: string, node: string): string => `${name}/${node}`;

export function inFunction(name: string, report: ReportData): ReportData {
  const named = (node: string): string => nameIn(name, node);
  return {
    ...report,
    blocks: report.blocks.map((block) => ({
      ...block,
      at: named(block.at),
      nodes: block.nodes.map(named),
      function: name,
    })),
    misses: report.misses.map((miss) => ({...miss, at: named(miss.at)})),
    stages: report.stages.map(({resolution, parts}) => ({
      resolution,
      parts: parts.map(named),
      function: name,
    })),
  };
}

/** Each function counts once, however often it runs. */
export function mergeReports(main: ReportData, functions: readonly ReportData[]): ReportData {
  const parts = [main, ...functions];
  const sum = (of: (part: ReportData) => number): number =>
    parts.reduce((total, part) => total + of(part), 0);
  const counted = (of: (part: ReportData) => Counted): Counted => ({
    total: sum((part) => of(part).total),
    fused: sum((part) => of(part).fused),
  });
  const change = (
    of: (part: ReportData) => {before: number; after: number},
  ): {before: number; after: number} => ({
    before: sum((part) => of(part).before),
    after: sum((part) => of(part).after),
  });
  return {
    nodes: change(({nodes}) => nodes),
    depthwise: counted(({depthwise}) => depthwise),
    macs: counted(({macs}) => macs),
    dispatches: change(({dispatches}) => dispatches),
    blocks: parts.flatMap(({blocks}) => blocks),
    misses: parts.flatMap(({misses}) => misses),
    stages: parts.flatMap(({stages}) => stages),
    notes: parts.flatMap(({notes}) => notes),
  };
}
