/** `block-fusion models`: the architectures that `convert --arch` knows. */
import {parseArgs} from 'node:util';
import {ARCHITECTURES, describe, type Description} from '../../models/index.js';
import {type Command, print, UsageError} from './command.js';

export const models: Command = {
  name: 'models',
  usage: '[--json]',
  summary: 'Lists the architectures that convert --arch knows.',
  details: [
    'For each: input size, learnt parameters, multiply-accumulates of one image, residual blocks, and whose checkpoints are read.',
    '--json  the same as JSON, with the blocks by kind',
  ],
  run(args) {
    const {values, positionals} = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {json: {type: 'boolean', default: false}},
    });
    if (positionals.length > 0) throw new UsageError('models takes no argument.');
    const rows = ARCHITECTURES.map((architecture) => describe(architecture));
    print(values.json ? JSON.stringify(rows, undefined, 2) : rows.map(lineOf).join('\n'));
    return Promise.resolve();
  },
};

export const countBlocks = ({blocks}: Description): number =>
  Object.values(blocks).reduce((sum, count) => sum + count, 0);

function lineOf(row: Description): string {
  const {name, size, parameters, macs, sources} = row;
  return [
    name.padEnd(24),
    `${size}×${size}`.padStart(7),
    `${(parameters / 1e6).toFixed(2)} M`.padStart(9),
    `${(macs / 1e9).toFixed(macs < 1e10 ? 2 : 1)} G`.padStart(8),
    `${countBlocks(row)} blocks`.padStart(10),
    ` ${sources.join(', ')}`,
  ].join('  ');
}
