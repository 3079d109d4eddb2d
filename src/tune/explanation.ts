/** The plans of a model's blocks with their numbers, as data, and as a text for a person. */
import type {Constants} from '../../kernels/plan.js';
import type {DeviceModel} from '../../kernels/webgpu/device_model.js';
import type {BlockPlan, DispatchPlan} from '../../kernels/webgpu/explain.js';
import type {FusionNotTaken} from '../../kernels/webgpu/explain_fusions.js';

/** A plan, and how often the model has it; names of the blocks' nodes where they are known. */
export interface ExplainedBlock {
  readonly plan: BlockPlan;
  readonly count: number;
  readonly at: readonly string[];
}

export interface ExplanationData {
  readonly device: DeviceModel;
  readonly blocks: readonly ExplainedBlock[];
}

export class Explanation implements ExplanationData {
  readonly device: DeviceModel;
  readonly blocks: readonly ExplainedBlock[];

  /** @param plans in the order they run, with the node's name where it is known; equal ones are counted together. */
  constructor(device: DeviceModel, plans: readonly {readonly plan: BlockPlan; readonly at?: string}[]) {
    const grouped = new Map<string, {plan: BlockPlan; count: number; at: string[]}>();
    for (const {plan, at} of plans) {
      const key = JSON.stringify(plan);
      const group = grouped.get(key) ?? {plan, count: 0, at: []};
      group.count++;
      if (at !== undefined) group.at.push(at);
      grouped.set(key, group);
    }
    this.device = device;
    this.blocks = [...grouped.values()];
  }

  /** Microseconds of all blocks, estimated, and what the waterline allows at best. */
  get total(): {readonly estimate: number; readonly waterline: number} {
    const sum = (of: (plan: BlockPlan) => number): number =>
      this.blocks.reduce((all, {plan, count}) => all + count * of(plan), 0);
    return {estimate: sum(({estimate}) => estimate), waterline: sum(({waterline}) => waterline)};
  }

  toString(): string {
    const {name, operationsPerSecond, bytesPerSecond, launchMicroseconds} = this.device;
    const count = this.blocks.reduce((all, block) => all + block.count, 0);
    return [
      `device: ${name}, ${rate(operationsPerSecond, 'OP/s')}, ${rate(bytesPerSecond, 'B/s')}, launch ${us(launchMicroseconds)}`,
      `${count} ${count === 1 ? 'block' : 'blocks'}: estimate ${us(this.total.estimate)}, waterline ${us(this.total.waterline)}`,
      ...this.blocks.flatMap(blockText),
    ].join('\n');
  }
}

const us = (microseconds: number): string => `${microseconds.toPrecision(3)} µs`;

const PREFIXES = [[1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e3, 'k']] as const; // prettier-ignore

function rate(value: number, unit: string): string {
  const [scale, prefix] = PREFIXES.find(([least]) => value >= least) ?? [1, ''];
  return `${(value / scale).toPrecision(3)} ${prefix}${unit}`;
}

function blockText({plan, count, at}: ExplainedBlock): readonly string[] {
  const {block, input, output, estimate, waterline, timing} = plan;
  const measured = timing
    ? [`measured: planned ${us(timing.planMicroseconds)}, as stock ops ${us(timing.opsMicroseconds)}`]
    : [];
  const verdict =
    plan.runs === 'ops' ? ['not fused here: its stock ops are faster; what would run if it were:'] : [];
  return [
    '',
    `${block}${count > 1 ? ` ×${count}` : ''}  [${input.join(', ')}] → [${output.join(', ')}]  estimate ${us(estimate)}, waterline ${us(waterline)}`,
    ...(at.length > 0 ? [`  ${at.join(', ')}`] : []),
    ...[...measured, ...verdict].map((line) => `  ${line}`),
    ...plan.dispatches.flatMap(dispatchText),
    ...plan.notFused.map(notFusedText),
  ];
}

function notFusedText({kernel, stages, apart, fused, reason}: FusionNotTaken): string {
  const best = fused ? `, in one ${us(fused.estimate.total)} (${tileText(fused.tile)})` : '';
  return `  · not ${kernel}, ${stages} in one dispatch: ${reason}; apart ${us(apart)}${best}`;
}

function dispatchText(dispatch: DispatchPlan): readonly string[] {
  const {kernel, workgroups, operations, bytes, estimate, bound, waterline, choice} = dispatch;
  const {launch, arithmetic, memory, total} = estimate;
  const tile = choice.by === 'none' ? '' : `  ${tileText(choice.tile)}`;
  const measured = choice.by === 'measurement' ? `, measured ${us(choice.microseconds)}` : '';
  const others = choice.by === 'none' ? [] : choice.others;
  return [
    `  · ${kernel}${tile}  ${workgroups.join('×')} workgroups`,
    `      ${rate(operations, 'OP')}, ${rate(bytes, 'B')}; launch ${us(launch)} + max(arithmetic ${us(arithmetic)}, memory ${us(memory)}) = ${us(total)}${measured}`,
    `      bound by ${bound}; waterline ${us(waterline)}`,
    ...(others.length > 0
      ? [`      instead: ${others.map((other) => `${tileText(other.tile)} ${us(other.estimate.total)}`).join('; ')}`] // prettier-ignore
      : []),
  ];
}

const tileText = (tile: Constants): string =>
  Object.entries(tile)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ');
