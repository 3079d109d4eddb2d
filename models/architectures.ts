/** The list of architectures: what each is called, how it is built, and who publishes checkpoints of it under which names. */
import {CONV_NEXTS, convNext} from './families/conv_next.js';
import {CONV_FIRSTS, convFirst} from './families/conv_first.js';
import {
  EFFICIENT_NETS,
  EFFICIENT_NETS_V2,
  EFFICIENT_NETS_V2_B,
  efficientNet,
  efficientNetV2,
} from './families/efficient_net.js';
import {invertedResidualNet} from './families/inverted_residual.js';
import {MOBILE_NETS} from './families/mobile_net.js';
import {REG_NETS, regNet, RES_NETS, resNet} from './families/res_net.js';
import * as maps from './naming/maps.js';
import type {Naming} from './naming/naming.js';
import type {Conventions, Network, Unit} from './network.js';
import * as prepare from './preprocessing.js';
import type {PreprocessingRow} from './preprocessing.js';

export type SourceName = 'timm' | 'torchvision' | 'huggingface' | 'keras' | 'own';

/** Who writes checkpoints of an architecture. */
export interface Source {
  readonly name: SourceName;
  readonly naming: Naming;
  readonly conventions: Conventions;
  readonly preprocessing: PreprocessingRow;
  /** Of the input these weights were made for, where it is not the architecture's. */
  readonly size?: number;
}

export interface Architecture {
  /** As `--arch` takes it. */
  readonly name: string;
  readonly family: string;
  /** Height and width of the input it was published with. */
  readonly size: number;
  readonly sources: readonly Source[];
  readonly units: (conventions: Conventions, classes: number) => readonly Unit[];
}

const TORCH: Conventions = {padding: 'symmetric', epsilon: 1e-5};
const TENSORFLOW: Conventions = {padding: 'same', epsilon: 1e-3};
const TORCH_LOOSE: Conventions = {padding: 'symmetric', epsilon: 1e-3};

const source = (
  name: SourceName,
  naming: Naming,
  conventions: Conventions,
  preprocessing: PreprocessingRow,
  size?: number,
): Source => ({name, naming, conventions, preprocessing, ...(size === undefined ? {} : {size})});

const keysOf = <T extends object>(table: T): readonly (keyof T & string)[] =>
  Object.keys(table) as (keyof T & string)[]; // Tables are closed records.

const conv = keysOf(CONV_NEXTS).map((name): Architecture => {
  const isV2 = name.startsWith('convnextv2');
  const crop = /_(nano|tiny|small)$/.test(name) && !isV2 ? 0.95 : 0.875;
  const isTorchvision = /^convnext_(tiny|small|base|large)$/.test(name);
  const isKeras = isTorchvision || name === 'convnext_xlarge';
  const huggingFace = isV2 ? maps.HUGGING_FACE_CONV_NEXT_V2 : maps.HUGGING_FACE_CONV_NEXT;
  return {
    name,
    family: isV2 ? 'ConvNeXt V2' : 'ConvNeXt',
    size: 224,
    units: (conventions, classes) => convNext(CONV_NEXTS[name], conventions, classes),
    sources: [
      source('timm', maps.TIMM_CONV_NEXT, TORCH, prepare.imageNet(crop)),
      source('huggingface', huggingFace, TORCH, prepare.imageNet(0.875)),
      ...(isTorchvision
        ? [source('torchvision', maps.TORCHVISION_CONV_NEXT, TORCH, prepare.imageNet(0.95, 'bilinear'))]
        : []),
      ...(isKeras ? [source('keras', maps.KERAS_CONV_NEXT, TORCH, prepare.KERAS_IMAGENET)] : []),
    ],
  };
});

/** Crops grow with the input's size in the original preprocessing: size / (size + 32). */
const EFFICIENT_CROPS = {
  b0: 0.875,
  b1: 0.882,
  b2: 0.89,
  b3: 0.904,
  b4: 0.922,
  b5: 0.934,
  b6: 0.942,
  b7: 0.949,
};

const efficient = keysOf(EFFICIENT_NETS).flatMap((variant): readonly Architecture[] => {
  const {size} = EFFICIENT_NETS[variant];
  const crop = prepare.imageNet(EFFICIENT_CROPS[variant]);
  const isLoose = /b[567]/.test(variant);
  const units: Architecture['units'] = (conventions, classes) => efficientNet(variant, conventions, classes);
  const torchvision = source(
    'torchvision',
    maps.TORCHVISION_EFFICIENT,
    isLoose ? TORCH_LOOSE : TORCH,
    crop,
    variant === 'b2' ? 288 : size,
  );
  const shared = {family: 'EfficientNet', size, units};
  return [
    {
      name: `efficientnet_${variant}`,
      ...shared,
      sources: [
        source('timm', maps.TIMM_MOBILE, TORCH, crop),
        torchvision,
        source('huggingface', maps.HUGGING_FACE_EFFICIENT, TENSORFLOW, crop),
        source('keras', maps.KERAS_EFFICIENT, TENSORFLOW, prepare.KERAS_IMAGENET),
      ],
    },
    withTensorFlowConventions({name: `efficientnet_${variant}`, ...shared, sources: []}, crop),
  ];
});

/** timm's weights that came from TensorFlow, under timm's own prefix. */
function withTensorFlowConventions(
  architecture: Architecture,
  preprocessing: PreprocessingRow,
  naming: Naming = maps.TIMM_MOBILE,
): Architecture {
  return {
    ...architecture,
    name: `tf_${architecture.name}`,
    sources: [source('timm', naming, TENSORFLOW, preprocessing)],
  };
}

const V2_SIZES = {...EFFICIENT_NETS_V2, ...EFFICIENT_NETS_V2_B};
const efficientV2 = keysOf(V2_SIZES).flatMap((variant): readonly Architecture[] => {
  const {size} = V2_SIZES[variant];
  const isLarge = !variant.startsWith('b'); // timm and torchvision have only these without the prefix.
  const row = isLarge ? prepare.half(1) : prepare.imageNet(EFFICIENT_CROPS[variant as 'b0']);
  const units: Architecture['units'] = (conventions, classes) =>
    efficientNetV2(variant, conventions, classes);
  const shared = {family: 'EfficientNetV2', size, units};
  const torchvision = variant === 'l' ? prepare.half(1) : prepare.imageNet(1, 'bilinear');
  const keras = isLarge ? prepare.KERAS_128 : prepare.KERAS_IMAGENET;
  const name = `efficientnetv2_${variant}`;
  return [
    {
      name,
      ...shared,
      sources: [
        ...(isLarge
          ? [
              source('timm', maps.TIMM_MOBILE, TORCH, prepare.imageNet(1)),
              source('torchvision', maps.TORCHVISION_EFFICIENT, TORCH_LOOSE, torchvision),
            ]
          : []),
        source('keras', maps.KERAS_EFFICIENT_V2, TENSORFLOW, keras),
      ],
    },
    withTensorFlowConventions({name, ...shared, sources: []}, row),
  ];
});

const MOBILE_SOURCES: Readonly<Record<keyof typeof MOBILE_NETS, readonly Source[]>> = {
  mobilenetv1: [
    source('timm', maps.TIMM_MOBILE, TORCH, prepare.half()),
    source('huggingface', maps.HUGGING_FACE_MOBILE_V1, TENSORFLOW, prepare.half(0.875, 'bilinear')),
    source('keras', maps.KERAS_MOBILE_V1, TENSORFLOW, prepare.KERAS_HALF),
  ],
  mobilenetv2: [
    source('timm', maps.TIMM_MOBILE, TORCH, prepare.imageNet()),
    source('torchvision', maps.TORCHVISION_MOBILE_V2, TORCH, prepare.imageNet(0.875, 'bilinear')),
    source('huggingface', maps.HUGGING_FACE_MOBILE_V2, TENSORFLOW, prepare.half(0.875, 'bilinear')),
    source('keras', maps.KERAS_MOBILE_V2, TENSORFLOW, prepare.KERAS_HALF),
  ],
  ...bothV3(),
  mobilenetv4_conv_small: [source('timm', maps.TIMM_MOBILE_V4, TORCH, prepare.imageNet())],
  mobilenetv4_conv_medium: [source('timm', maps.TIMM_MOBILE_V4, TORCH, prepare.imageNet(0.95))],
  mnasnet_a1: [source('timm', maps.TIMM_MOBILE, TORCH, prepare.imageNet())],
  mnasnet_b1: [
    source('timm', maps.TIMM_MOBILE, TORCH, prepare.imageNet()),
    source('torchvision', maps.TORCHVISION_MNAS, TORCH, prepare.imageNet(0.875, 'bilinear')),
  ],
};

function bothV3(): Readonly<Record<'mobilenetv3_large' | 'mobilenetv3_small', readonly Source[]>> {
  const sources = [
    source('timm', maps.TIMM_MOBILE, TORCH, prepare.imageNet()),
    source('torchvision', maps.TORCHVISION_MOBILE_V3, TORCH_LOOSE, prepare.imageNet(0.875, 'bilinear')),
    source('keras', maps.KERAS_MOBILE_V3, TENSORFLOW, prepare.KERAS_HALF),
  ];
  return {mobilenetv3_large: sources, mobilenetv3_small: sources};
}

const mobile = keysOf(MOBILE_NETS).flatMap((name): readonly Architecture[] => {
  const {family, plan, size} = MOBILE_NETS[name];
  const architecture: Architecture = {
    name,
    family,
    size,
    sources: MOBILE_SOURCES[name],
    units: (conventions, classes) => invertedResidualNet(plan, conventions, classes),
  };
  const hasTensorFlow = family === 'MobileNetV3';
  return hasTensorFlow
    ? [architecture, withTensorFlowConventions(architecture, prepare.half(0.875, 'bilinear'))]
    : [architecture];
});

const KERAS_RES_NET: Conventions = {
  padding: 'symmetric',
  epsilon: 1.001e-5,
  convBias: true,
  strideFirst: true,
};

const res = keysOf(RES_NETS).map((name): Architecture => ({
  name,
  family: 'ResNet',
  size: 224,
  units: (conventions, classes) => resNet(RES_NETS[name], conventions, classes),
  sources: [
    source('timm', maps.TORCH_RES_NET, TORCH, prepare.imageNet(0.95)),
    source('huggingface', maps.HUGGING_FACE_RES_NET, TORCH, prepare.imageNet()),
    ...(/50|101|152/.test(name)
      ? [source('keras', maps.KERAS_RES_NET, KERAS_RES_NET, prepare.KERAS_CAFFE)]
      : []),
  ],
}));

/** The widths of its other members differ from the paper's, so those are architectures of their own, under timm's names. */
const TORCHVISION_REG_NETS =
  /^regnet(x_(004_tv|008|016|032|080|160|320)|y_(004|008_tv|016|032|080_tv|160|320))$/;

const reg = keysOf(REG_NETS).map((name): Architecture => ({
  name,
  family: name.startsWith('regnetx') ? 'RegNetX' : 'RegNetY',
  size: 224,
  units: (conventions, classes) => regNet(REG_NETS[name], conventions, classes),
  sources: [
    source('timm', maps.TIMM_REG_NET, TORCH, prepare.imageNet()),
    ...(TORCHVISION_REG_NETS.test(name)
      ? [source('torchvision', maps.TORCHVISION_REG_NET, TORCH, prepare.imageNet(0.875, 'bilinear'))]
      : []),
    source('huggingface', maps.HUGGING_FACE_REG_NET, TORCH, prepare.imageNet()),
  ],
}));

const first = keysOf(CONV_FIRSTS).map((name): Architecture => ({
  name,
  family: 'ConvFirst',
  size: CONV_FIRSTS[name].size,
  units: (conventions, classes) => convFirst(CONV_FIRSTS[name], conventions, classes),
  sources: [source('own', maps.OWN, TORCH, prepare.imageNet())],
}));

/** In the order in which they are listed. */
export const ARCHITECTURES: readonly Architecture[] = [
  ...first,
  ...conv,
  ...efficient,
  ...efficientV2,
  ...mobile,
  ...res,
  ...reg,
];

/** @throws {ArchitectureError} for a name that is none. */
export function findArchitecture(name: string): Architecture {
  const found = ARCHITECTURES.find((architecture) => architecture.name === name);
  if (found) return found;
  const near = ARCHITECTURES.filter((candidate) => candidate.name.startsWith(name.slice(0, 5)));
  const names = (near.length > 0 ? near : ARCHITECTURES).map((candidate) => candidate.name);
  throw new ArchitectureError(`There is no architecture '${name}'; did you mean one of ${names.join(', ')}?`);
}

/** Thrown for a name or a number of classes that makes no network. */
export class ArchitectureError extends Error {
  override readonly name = 'ArchitectureError';
}

export const IMAGENET_CLASSES = 1000;

/** @param classes 0 for a network that ends with its features. The conventions are the first source's unless given. */
export function makeNetwork(
  {name, size, units, sources}: Architecture,
  {
    classes = IMAGENET_CLASSES,
    from = sources[0],
  }: {readonly classes?: number; readonly from?: Source | undefined} = {},
): Network {
  if (!Number.isInteger(classes) || classes < 0)
    throw new ArchitectureError(`${classes} is no number of classes; give a whole number from 0.`);
  return {name, classes, size, units: units(from?.conventions ?? TORCH, classes)};
}
