/** `block-fusion inspect`: what the rewriter finds in a model, and what it does not and why. */
import {parseArgs} from 'node:util';
import {convert} from '../convert/convert.js';
import {readModel} from '../node_models.js';
import {explainArtifacts} from '../tune/explain_model.js';
import {type Command, print, progress, UsageError} from './command.js';
import {reportText} from './report_text.js';
import {parseShapes} from './shapes.js';

export const inspect: Command = {
  name: 'inspect',
  usage: 'MODEL [--json] [--shape NAME=1,224,224,3] [--explain]',
  summary: 'Says which blocks would be fused, which not, and why.',
  details: [
    'MODEL is a model.json (graph model or layers model) or the folder it is in.',
    '--json   the report as JSON: nodes, depthwise, macs, dispatches, blocks, misses',
    '--shape  the shape that will be fed to an input; may be given more than once',
    '--explain  instead, the WebGPU plan of each block at that shape, estimated for an NVIDIA H200: dispatches, tiles, what bounds them',
  ],
  async run(args) {
    const {values, positionals} = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        json: {type: 'boolean', default: false},
        shape: {type: 'string', multiple: true},
        explain: {type: 'boolean', default: false},
      },
    });
    const [path, ...extra] = positionals;
    if (path === undefined || extra.length > 0) throw new UsageError('inspect takes one MODEL.');
    progress(`reading ${path}`);
    const model = await readModel(path);
    progress('looking for blocks');
    const {artifacts, report} = convert(model, {inputShapes: parseShapes(values.shape ?? []), isFile: true});
    if (values.explain) {
      const explanation = explainArtifacts(artifacts);
      return print(values.json ? JSON.stringify(explanation, undefined, 2) : explanation.toString());
    }
    print(values.json ? JSON.stringify(report, undefined, 2) : reportText(report));
  },
};
