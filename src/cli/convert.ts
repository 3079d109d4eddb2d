/** `block-fusion convert`: writes the rewritten model, or with `--arch` a standard model from a checkpoint. */
import {parseArgs} from 'node:util';
import {convert as rewrite} from '../convert/convert.js';
import {isFetchable} from '../graph/index.js';
import {readModel, writeModel} from '../node_models.js';
import {type Command, print, progress, UsageError} from './command.js';
import {convertFromCheckpoint} from './convert_checkpoint.js';
import {parseShapes} from './shapes.js';
import {verify} from './verify.js';

export const convert: Command = {
  name: 'convert',
  usage:
    'MODEL OUTDIR [--verify] [--shape NAME=1,224,224,3] [--keep NAME]  or  CHECKPOINT OUTDIR --arch NAME [--classes N] [--quantize float16|uint8] [--verify]',
  summary:
    'Writes the model with its blocks fused, to be loaded after registerBlockKernels(); or a standard model from a checkpoint.',
  details: [
    'MODEL is a model.json (graph model or layers model) or the folder it is in.',
    'OUTDIR is replaced as a whole, or not at all.',
    '--verify  first runs both models on the same random inputs, and writes only if they agree in every output and block',
    '--shape   the shape that will be fed to an input, which becomes fixed; may be given more than once',
    '--keep    a node whose value must stay fetchable by its name; may be given more than once',
    '',
    'CHECKPOINT is a safetensors file of timm, torchvision or Hugging Face, a Keras .h5, .weights.h5 or .keras, or a',
    "TF.js layers model's model.json. The model written is a standard graph model, which fuse() or a second convert fuses.",
    '--arch      what the checkpoint is of; `block-fusion models` lists the names',
    '--classes   number of classes, 0 for features; as the checkpoint has it unless given',
    '--quantize  float16 or uint8 weights',
    '--size      height and width of the input, where they are not those of the training',
    '--from      who wrote the checkpoint, where the names of its tensors do not say it',
    '--verify    first compares with the checkpoint run layer by layer, and writes only if they agree',
  ],
  async run(args) {
    const {values, positionals} = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        verify: {type: 'boolean', default: false},
        shape: {type: 'string', multiple: true},
        keep: {type: 'string', multiple: true},
        arch: {type: 'string'},
        classes: {type: 'string'},
        quantize: {type: 'string'},
        size: {type: 'string'},
        from: {type: 'string'},
      },
    });
    const [path, folder, ...extra] = positionals;
    if (path === undefined || folder === undefined || extra.length > 0)
      throw new UsageError('convert takes a MODEL and an OUTDIR.');
    const {arch, shape, keep = [], ...rest} = values;
    if (arch !== undefined) {
      if (shape) throw new UsageError('--shape is for models; give a checkpoint --size.');
      if (keep.length > 0) throw new UsageError('--keep is for models: a checkpoint has no nodes yet.');
      return convertFromCheckpoint({path, folder, arch, ...rest});
    }
    if (rest.classes ?? rest.quantize ?? rest.size ?? rest.from)
      throw new UsageError('--classes, --quantize, --size and --from are for checkpoints; say --arch.');
    progress(`reading ${path}`);
    const artifacts = await readModel(path);
    progress('looking for blocks');
    const inputShapes = parseShapes(values.shape ?? []);
    const {artifacts: rewritten, report} = rewrite(artifacts, {inputShapes, keep, isFile: true});
    if (values.verify) {
      progress('comparing with the original');
      const fetch = [...keep, ...report.blocks.filter(isFetchable).map(({at}) => at)];
      const worst = await verify(artifacts, rewritten, {shapes: inputShapes, fetch});
      print(`largest difference ${worst.toExponential(1)} of the output's scale`);
    }
    await writeModel(folder, rewritten);
    print(`${folder}: ${report.blocks.length} blocks, ${report.nodes.before} → ${report.nodes.after} nodes`);
  },
};
