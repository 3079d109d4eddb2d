/** Placement of intermediate buffers: whatever the steps, nothing alive is overwritten, and no pool is read and written at once. */
import {planArena} from '../../src/capture/arena.js';
import type {Command, CopyCommand, DispatchCommand, RecordedBuffer} from '../../src/capture/commands.js';
import {programOf} from '../../src/capture/program.js';
import {seededRandom} from '../support/random.js';

const ALIGNMENT = 256;

const buffer = (size: number, role: RecordedBuffer['role'] = 'temporary'): RecordedBuffer => ({
  ...{role, size, input: role === 'input' ? 0 : -1},
  buffer: {} as GPUBuffer, // only its identity counts here
});

function dispatch(reads: readonly RecordedBuffer[], writes: readonly RecordedBuffer[]): DispatchCommand {
  const bindings = [...writes, ...reads].map((bound, binding) => ({
    ...{binding, buffer: bound, offset: 0, size: bound.size},
    access: binding < writes.length ? ('write' as const) : ('read' as const),
  }));
  const groups = [{index: 0, layout: {} as GPUBindGroupLayout, bindings, dynamicOffsets: []}];
  const pipeline = {} as GPUComputePipeline; // never run
  return {kind: 'dispatch', name: 'test', pipeline, groups, workgroups: [1, 1, 1], indirect: undefined};
}

/** A random graph: each step reads one or two earlier buffers. */
function randomSteps(seed: number, steps: number): {commands: Command[]; last: RecordedBuffer} {
  const next = seededRandom(seed);
  const made = [buffer(4096, 'input')];
  const commands = Array.from({length: steps}, () => {
    const pick = (): RecordedBuffer => made[Math.floor(made.length * next() ** 0.3)] as RecordedBuffer;
    const written = buffer(4 * Math.ceil(2000 * next()));
    const command = dispatch([pick(), pick()], [written]);
    made.push(written);
    return command;
  });
  return {commands, last: made.at(-1) as RecordedBuffer};
}

const output = (from: RecordedBuffer): object => ({
  ...{name: 'y', shape: [from.size / 4], dtype: 'float32'},
  from: {kind: 'buffer', buffer: from},
});

describe('capture arena', () => {
  for (let seed = 1; seed <= 20; seed++) {
    it(`keeps apart what is alive together (${seed})`, () => {
      const {commands, last} = randomSteps(seed, 60);
      const program = programOf({commands, outputs: [output(last) as never], weights: []});
      const {placements, pools, sum, liveBytes} = planArena(program.intermediates, program.steps, {
        ...{alignment: ALIGNMENT, maxPool: 2 ** 20},
      });
      expect(placements.size).toBe(program.intermediates.length);
      for (const [i, one] of program.intermediates.entries()) {
        const a = placements.get(one.buffer);
        expect((a?.offset ?? 1) % ALIGNMENT).toBe(0);
        for (const two of program.intermediates.slice(i + 1)) {
          const b = placements.get(two.buffer);
          if (!a || a.pool !== b?.pool || one.first > two.last || two.first > one.last) continue;
          const isApart = a.offset + one.buffer.size <= b.offset || b.offset + two.buffer.size <= a.offset;
          expect(isApart)
            .withContext(`${a.offset}+${one.buffer.size} and ${b.offset}+${two.buffer.size}`)
            .toBeTrue();
        }
      }
      for (const step of program.steps as readonly DispatchCommand[]) {
        const bound = step.groups.flatMap(({bindings}) => bindings);
        const poolsOf = (access: string): unknown[] =>
          bound.filter((b) => b.access === access).flatMap((b) => placements.get(b.buffer)?.pool ?? []);
        expect(poolsOf('read').filter((pool) => poolsOf('write').includes(pool))).toEqual([]);
      }
      const total = pools.reduce((a, b) => a + b, 0);
      expect(total).toBeLessThanOrEqual(sum);
      expect(total).toBeGreaterThanOrEqual(liveBytes);
    });
  }

  it('gives a buffer that is read before it is written memory of its own', () => {
    const [input, empty, a, b] = [buffer(256, 'input'), buffer(256), buffer(256), buffer(256)];
    const commands = [dispatch([input], [a]), dispatch([a, empty], [b]), dispatch([b], [empty])];
    const program = programOf({commands, outputs: [output(empty) as never], weights: []});
    const {placements} = planArena(program.intermediates, program.steps, {
      alignment: ALIGNMENT,
      maxPool: 2 ** 20,
    });
    const own = placements.get(empty)?.pool;
    expect(own).toBeDefined();
    expect([a, b].map((other) => placements.get(other)?.pool)).not.toContain(own);
  });
});

describe('capture program', () => {
  it('keeps an upload in its place where a step changes the buffer', () => {
    const [input, sums] = [buffer(256, 'input'), buffer(256)];
    const zeros: Command = {kind: 'upload', target: sums, offset: 0, data: new Uint8Array(256)};
    const program = programOf({
      commands: [zeros, dispatch([input], [sums])],
      outputs: [output(sums) as never],
      weights: [],
    });
    expect(program.folded).toEqual([]);
    expect(program.steps.map(({kind}) => kind)).toEqual(['upload', 'dispatch']);
  });

  it('folds what follows from constants, and drops what nothing needs', () => {
    const [input, constant, computed, unused, y] = [
      buffer(256, 'input'),
      buffer(256),
      buffer(256),
      buffer(256),
      buffer(256),
    ];
    const upload: Command = {kind: 'upload', target: constant, offset: 0, data: new Uint8Array(256)};
    const copy: CopyCommand = {
      ...{kind: 'copy', source: constant, sourceOffset: 0},
      ...{target: computed, targetOffset: 0, size: 256},
    };
    const commands = [upload, copy, dispatch([input], [unused]), dispatch([input, computed], [y])];
    const program = programOf({commands, outputs: [output(y) as never], weights: []});
    expect(program.folded).toEqual([upload, copy]);
    expect(program.steps).toEqual([commands[3] as Command]);
  });
});
