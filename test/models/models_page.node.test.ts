/** docs/models.md and its log against the code: what they say of each architecture must be what the architecture is. */
import {readFileSync} from 'node:fs';
import {describeRow, fuseRow, readTable, type Row} from '../../benchmarks/models_table.js';
import {
  ARCHITECTURES,
  blocksOf,
  describe as describeArchitecture,
  findArchitecture,
  makeNetwork,
} from '../../models/index.js';

/** Each kind of block is among them: fusing all would take minutes. */
const FUSED = [
  'convfirst_pico',
  'convnext_atto',
  'convnextv2_atto',
  'efficientnet_b0',
  'tf_efficientnetv2_b0',
  'mobilenetv1',
  'mobilenetv2',
  'mobilenetv3_small',
  'mobilenetv4_conv_small',
  'mobilenetv4_conv_medium',
  'mnasnet_a1',
  'resnet18',
  'regnetx_002',
  'regnety_002',
];

describe('the table in docs/models.md', () => {
  let table: ReadonlyMap<string, Row>;
  beforeAll(async () => {
    table = await readTable();
  });

  it('has a row for each architecture, in the order of the list', () => {
    expect([...table.keys()]).toEqual(ARCHITECTURES.map(({name}) => name));
  });

  for (const architecture of ARCHITECTURES) {
    it(`describes ${architecture.name}, and every block of it is fused`, () => {
      const row = table.get(architecture.name);
      expect(row).toEqual(jasmine.objectContaining({...describeRow(architecture)}));
      expect(row?.fused).toBe(row?.blocks);
    });
  }

  for (const name of FUSED) {
    it(`says what fuse makes of ${name}`, async () => {
      expect(table.get(name)).toEqual(jasmine.objectContaining({...(await fuseRow(findArchitecture(name)))}));
    });
  }
});

interface Line {
  readonly name: string;
  readonly writer: string;
  readonly parameters: number;
  /** Counted by hooks on the writer's modules; NaN where it has none. */
  readonly macs: number;
  readonly compared: number;
  readonly worst: number;
}

const LOG = new URL('../../../docs/models_verified.log', import.meta.url);
const LINE = /^(\w+) +(\w+)(?: \w+)? +\S+ +(\d+) +(\d+|-) +(\d+) outputs, largest error (\S+) {2}ok$/gm;
const TOLERANCE = 1e-4;

describe('docs/models_verified.log', () => {
  const text = readFileSync(LOG, 'utf8');
  const lines: readonly Line[] = [...text.matchAll(LINE)].map(
    ([, name = '', writer = '', parameters, macs, compared, worst]) => ({
      name,
      writer,
      parameters: Number(parameters),
      macs: Number(macs),
      compared: Number(compared),
      worst: Number(worst),
    }),
  );

  it('has no line that is not ok', () => {
    expect(text.trim().split('\n').length - 3).toBe(lines.length);
  });

  for (const architecture of ARCHITECTURES) {
    const {name, sources} = architecture;
    const own = lines.filter((line) => line.name === name);

    it(`has what timm and Keras made of ${name}, with our parameters and MACs`, () => {
      const writers = sources.map((source) => source.name);
      for (const writer of ['own', 'timm', 'keras'] as const)
        if (writers.includes(writer)) expect(own.map((line) => line.writer)).toContain(writer);
      expect(own.length).toBeGreaterThan(0);
      const blocks = blocksOf(makeNetwork(architecture)).length;
      for (const line of own) {
        // Keras's ResNet has biases that batch norm makes needless.
        const source = sources.find(({name: known}) => known === line.writer) ?? sources[0];
        const {parameters, macs} = describeArchitecture(architecture, source);
        expect(line.parameters).withContext(line.writer).toBe(parameters);
        if (!Number.isNaN(line.macs)) expect(line.macs).withContext(line.writer).toBe(macs);
        expect(line.compared).withContext(line.writer).toBeGreaterThanOrEqual(blocks);
        expect(line.worst).withContext(line.writer).toBeLessThan(TOLERANCE);
      }
    });
  }
});
