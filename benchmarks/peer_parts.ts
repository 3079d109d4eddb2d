/** The programs that time one network each, ours and the peers', as commands that print a line of JSON a batch; and what they lack. */
import {spawnSync} from 'node:child_process';
import {existsSync, mkdirSync} from 'node:fs';
import {createRequire} from 'node:module';
import {join, resolve} from 'node:path';
import {fileURLToPath} from 'node:url';
import {type Command, reasonIn} from './peer_process.js';

export const PARTS = ['ours', 'f16', 'torch', 'ort'] as const;
/** `ours`: stock TF.js, its replay and fused; `f16`: fused in half precision. */
export type PartName = (typeof PARTS)[number];

export interface PartOptions {
  readonly size: number;
  readonly runs: number;
  readonly seconds: number;
  readonly python: string;
  /** `cpu` is for trying the script out. */
  readonly torchDevice: string;
  /** Without PyTorch's eager mode. */
  readonly graphsOnly: boolean;
  /** PyTorch's own compiler, too, which takes minutes. */
  readonly compile: boolean;
  /** With node_modules/onnxruntime-node. */
  readonly ort: string;
  readonly ortProvider: string;
  readonly onnx: string;
  /** The peers' scripts. */
  readonly scripts: string;
}

/** What a network's command is, or why there is none. */
export type Prepared = Command | {readonly missing: string};

export interface Part {
  /** Said once, loudly, at the start: what is not installed, and how it would be. */
  readonly missing: string | undefined;
  readonly prepare: (network: string, batches: readonly number[]) => Prepared;
}

const NETWORKS_BENCH = fileURLToPath(new URL('networks_bench.js', import.meta.url));
/** Of an export to ONNX, on the CPU. */
const EXPORT_LIMIT_MS = 240_000;
const TIMM_FREE = ['convfirst_tiny'];

export const partOf = (name: PartName, options: PartOptions): Part =>
  name === 'torch' ? torchPart(options) : name === 'ort' ? ortPart(options) : ourPart(name, options);

const timing = ({size, runs, seconds}: PartOptions): string[] => [
  `--size=${size}`,
  `--runs=${runs}`,
  `--seconds=${seconds}`,
];

function ourPart(name: 'ours' | 'f16', options: PartOptions): Part {
  const half = name === 'f16' ? ['--precision=f16', '--only=fused'] : [];
  return {
    missing: undefined,
    prepare: (network, batches) => ({
      file: process.execPath,
      args: [NETWORKS_BENCH, network, `--batches=${batches.join()}`, ...timing(options), '--json', ...half],
    }),
  };
}

/** @returns what Python prints as it fails, or undefined. */
function pythonFails(python: string, code: string): string | undefined {
  const {status, stderr, error} = spawnSync(python, ['-c', code], {encoding: 'utf8'});
  return status === 0 ? undefined : (error?.message ?? reasonIn(stderr) ?? 'it says nothing');
}

function torchPart(options: PartOptions): Part {
  const {python, torchDevice, scripts} = options;
  const hasCuda = "import torch; assert torch.cuda.is_available(), 'PyTorch finds no CUDA device'";
  const lacks = pythonFails(python, torchDevice === 'cuda' ? hasCuda : 'import torch');
  const missing =
    lacks === undefined
      ? undefined
      : `PyTorch is left out (${lacks}). Install it for your CUDA as pytorch.org says, and 'pip install timm'; name the ` +
        `Python that has them by --python=PATH.`;
  const withoutTimm = missing === undefined ? pythonFails(python, 'import timm') : undefined;
  return {
    missing: missing ?? (withoutTimm && `PyTorch lacks timm (${withoutTimm}): pip install timm`),
    prepare: (network, batches) => {
      if (missing !== undefined) return {missing: 'not installed'};
      if (withoutTimm !== undefined && !TIMM_FREE.includes(network))
        return {missing: 'timm is not installed'};
      const script = [join(scripts, 'torch_rows.py'), network, `--batches=${batches.join()}`];
      const more = [
        ...(options.graphsOnly ? ['--graphs-only'] : []),
        ...(options.compile ? ['--compile'] : []),
      ];
      return {file: python, args: [...script, ...timing(options), `--device=${torchDevice}`, ...more]};
    },
  };
}

function ortPart(options: PartOptions): Part {
  const {ort, ortProvider, onnx, scripts} = options;
  const lacks = ortFails(ort);
  const missing =
    lacks === undefined
      ? undefined
      : `onnxruntime-node is left out (${lacks}). Install it with 'npm install --no-save --ignore-scripts ` +
        `onnxruntime-node@1.30.0' here, or elsewhere and name that folder by --ort=DIR.`;
  return {
    missing,
    prepare: (network, batches) => {
      if (missing !== undefined) return {missing: 'not installed'};
      const file = join(onnx, String(options.size), `${network}.onnx`);
      const failure = existsSync(file) ? undefined : exportOnnx(network, options);
      if (failure !== undefined) return {missing: `no ${file}, and its export failed: ${failure}`};
      const where = [`--ort=${ort}`, `--provider=${ortProvider}`, `--batches=${batches.join()}`];
      return {
        file: process.execPath,
        args: [join(scripts, 'ort_rows.mjs'), file, ...where, ...timing(options)],
      };
    },
  };
}

function ortFails(folder: string): string | undefined {
  try {
    createRequire(join(resolve(folder), 'package.json')).resolve('onnxruntime-node');
    return undefined;
  } catch {
    return `none found from ${resolve(folder)}`;
  }
}

function exportOnnx(network: string, {python, scripts, size, onnx}: PartOptions): string | undefined {
  const out = join(onnx, String(size));
  mkdirSync(out, {recursive: true});
  const args = [join(scripts, 'export_onnx.py'), network, `--out=${out}`, `--size=${size}`];
  console.error(`${network}: exporting to ONNX`);
  const {status, stderr, error} = spawnSync(python, args, {encoding: 'utf8', timeout: EXPORT_LIMIT_MS});
  return status === 0 ? undefined : (error?.message ?? reasonIn(stderr) ?? 'it says nothing');
}
