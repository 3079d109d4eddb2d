/** `block-fusion convert`: writes the rewritten model. */
import {parseArgs} from 'node:util';
import {convert as rewrite} from '../convert/convert.js';
import {readModel, writeModel} from '../node_models.js';
import {type Command, print, progress, UsageError} from './command.js';
import {parseShapes} from './shapes.js';
import {verify} from './verify.js';

export const convert: Command = {
  name: 'convert',
  usage: 'MODEL OUTDIR [--verify] [--shape NAME=1,224,224,3]',
  summary: 'Writes the model with its blocks fused; load it after registerBlockKernels().',
  details: [
    'MODEL is a model.json (graph model or layers model) or the folder it is in.',
    'OUTDIR is replaced as a whole, or not at all.',
    '--verify  first runs both models on the same random inputs, and writes only if they agree',
    '--shape   the shape that will be fed to an input, which becomes fixed; may be given more than once',
  ],
  async run(args) {
    const {values, positionals} = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {verify: {type: 'boolean', default: false}, shape: {type: 'string', multiple: true}},
    });
    const [path, folder, ...extra] = positionals;
    if (path === undefined || folder === undefined || extra.length > 0)
      throw new UsageError('convert takes a MODEL and an OUTDIR.');
    progress(`reading ${path}`);
    const artifacts = await readModel(path);
    progress('looking for blocks');
    const inputShapes = parseShapes(values.shape ?? []);
    const {artifacts: rewritten, report} = rewrite(artifacts, {inputShapes, isFile: true});
    if (values.verify) {
      progress('comparing with the original');
      print(
        `largest difference ${(await verify(artifacts, rewritten, inputShapes)).toExponential(1)} of the output's scale`,
      );
    }
    await writeModel(folder, rewritten);
    print(`${folder}: ${report.blocks.length} blocks, ${report.nodes.before} → ${report.nodes.after} nodes`);
  },
};
