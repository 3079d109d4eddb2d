/** The name maps, one for each family and writer. */
import type {Naming, Row} from './naming.js';

const TORCH_COUNTERS = [/\.num_batches_tracked$/];
const torch = (unit: string, rows: Readonly<Record<string, Row>>): Naming => ({
  style: 'torch',
  unit,
  rows,
  ignored: TORCH_COUNTERS,
});
/** Input normalisation is a layer of some Keras networks; here it travels in the metadata. */
const keras = (unit: string, rows: Readonly<Record<string, Row>>): Naming => ({
  style: 'keras',
  unit,
  rows,
  ignored: [/(^|\/|_)(normalization|rescaling)(_\d+)?\//, /^top_level_model_weights\//],
});

/** Layers under our own names: networks that nobody else publishes. */
export const OWN = torch('{unit}', {'*': ['~.{layer}', '~.{layer}_norm'], scale: ['=~.scale']});

const TIMM_MOBILE_ROWS = {
  'stem.conv': ['conv_stem', 'bn1'],
  'ds.spatial': ['~.conv_dw', '~.bn1'],
  'ds.project': ['~.conv_pw', '~.bn2'],
  'ir.expand': ['~.conv_pw', '~.bn1'],
  'ir.spatial': ['~.conv_dw', '~.bn2'],
  'ir.project': ['~.conv_pwl', '~.bn3'],
  'er.expand': ['~.conv_exp', '~.bn1'],
  'er.project': ['~.conv_pwl', '~.bn2'],
  'cn.conv': ['~.conv', '~.bn1'],
  'cn.expand': ['~.conv', '~.bn1'],
  'uir.start': ['~.dw_start.conv', '~.dw_start.bn'],
  'uir.expand': ['~.pw_exp.conv', '~.pw_exp.bn'],
  'uir.spatial': ['~.dw_mid.conv', '~.dw_mid.bn'],
  'uir.project': ['~.pw_proj.conv', '~.pw_proj.bn'],
  gateReduce: ['~.se.conv_reduce'],
  gateExpand: ['~.se.conv_expand'],
  'head.hidden': ['conv_head', 'bn2'],
  'head.classifier': ['classifier'],
} as const satisfies Readonly<Record<string, Row>>;

export const TIMM_MOBILE = torch('blocks.{s}.{b}', TIMM_MOBILE_ROWS);
export const TIMM_MOBILE_V4 = torch('blocks.{s}.{b}', {
  ...TIMM_MOBILE_ROWS,
  'head.hidden': ['conv_head', 'norm_head'],
});

export const TORCHVISION_EFFICIENT = torch('features.{s+1}.{b}.block', {
  'stem.conv': ['features.0.0', 'features.0.1'],
  'ds.spatial': ['~.0.0', '~.0.1'],
  'ds.gateReduce': ['~.1.fc1'],
  'ds.gateExpand': ['~.1.fc2'],
  'ds.project': ['~.2.0', '~.2.1'],
  'ir.expand': ['~.0.0', '~.0.1'],
  'ir.spatial': ['~.1.0', '~.1.1'],
  'ir.gateReduce': ['~.2.fc1'],
  'ir.gateExpand': ['~.2.fc2'],
  'ir.project': ['~.3.0', '~.3.1'],
  'er.expand': ['~.0.0', '~.0.1'],
  'er.project': ['~.1.0', '~.1.1'],
  'cn.expand': ['~.0.0', '~.0.1'],
  'head.hidden': ['features.{s+1}.0', 'features.{s+1}.1'],
  'head.classifier': ['classifier.1'],
});

export const TORCHVISION_MOBILE_V2 = torch('features.{i+1}.conv', {
  'stem.conv': ['features.0.0', 'features.0.1'],
  'ds.spatial': ['~.0.0', '~.0.1'],
  'ds.project': ['~.1', '~.2'],
  'ir.expand': ['~.0.0', '~.0.1'],
  'ir.spatial': ['~.1.0', '~.1.1'],
  'ir.project': ['~.2', '~.3'],
  'head.hidden': ['features.{i+1}.0', 'features.{i+1}.1'],
  'head.classifier': ['classifier.1'],
});

export const TORCHVISION_MOBILE_V3 = torch('features.{i+1}.block', {
  'stem.conv': ['features.0.0', 'features.0.1'],
  'ds.spatial': ['~.0.0', '~.0.1'],
  'ds.project': ['~.1.0', '~.1.1'],
  'dsse.gateReduce': ['~.1.fc1'],
  'dsse.gateExpand': ['~.1.fc2'],
  'dsse.project': ['~.2.0', '~.2.1'],
  'ir.expand': ['~.0.0', '~.0.1'],
  'ir.spatial': ['~.1.0', '~.1.1'],
  'ir.project': ['~.2.0', '~.2.1'],
  'irse.gateReduce': ['~.2.fc1'],
  'irse.gateExpand': ['~.2.fc2'],
  'irse.project': ['~.3.0', '~.3.1'],
  'cn.conv': ['features.{i+1}.0', 'features.{i+1}.1'],
  'head.hidden': ['classifier.0'],
  'head.classifier': ['classifier.3'],
});

/** The stem, its separable convolution and the stages are numbered through. */
export const TORCHVISION_MNAS = torch('layers.{s+7}.{b}.layers', {
  'stem.conv': ['layers.0', 'layers.1'],
  'ds.spatial': ['layers.3', 'layers.4'],
  'ds.project': ['layers.6', 'layers.7'],
  'ir.expand': ['~.0', '~.1'],
  'ir.spatial': ['~.3', '~.4'],
  'ir.project': ['~.6', '~.7'],
  'head.hidden': ['layers.14', 'layers.15'],
  'head.classifier': ['classifier.1'],
});

export const HUGGING_FACE_EFFICIENT = torch('efficientnet.encoder.blocks.{i}', {
  'stem.conv': ['efficientnet.embeddings.convolution', 'efficientnet.embeddings.batchnorm'],
  expand: ['~.expansion.expand_conv', '~.expansion.expand_bn'],
  spatial: ['~.depthwise_conv.depthwise_conv', '~.depthwise_conv.depthwise_norm'],
  gateReduce: ['~.squeeze_excite.reduce'],
  gateExpand: ['~.squeeze_excite.expand'],
  project: ['~.projection.project_conv', '~.projection.project_bn'],
  'head.hidden': ['efficientnet.encoder.top_conv', 'efficientnet.encoder.top_bn'],
  'head.classifier': ['classifier'],
});

export const HUGGING_FACE_MOBILE_V1 = torch('mobilenet_v1.layer', {
  'stem.conv': ['mobilenet_v1.conv_stem.convolution', 'mobilenet_v1.conv_stem.normalization'],
  spatial: ['~.{2i}.convolution', '~.{2i}.normalization'],
  project: ['~.{2i+1}.convolution', '~.{2i+1}.normalization'],
  'head.classifier': ['classifier'],
});

/** The first block is part of the stem there. */
export const HUGGING_FACE_MOBILE_V2 = torch('mobilenet_v2.layer.{i-1}', {
  'stem.conv': [
    'mobilenet_v2.conv_stem.first_conv.convolution',
    'mobilenet_v2.conv_stem.first_conv.normalization',
  ],
  'ds.spatial': [
    'mobilenet_v2.conv_stem.conv_3x3.convolution',
    'mobilenet_v2.conv_stem.conv_3x3.normalization',
  ],
  'ds.project': [
    'mobilenet_v2.conv_stem.reduce_1x1.convolution',
    'mobilenet_v2.conv_stem.reduce_1x1.normalization',
  ],
  'ir.expand': ['~.expand_1x1.convolution', '~.expand_1x1.normalization'],
  'ir.spatial': ['~.conv_3x3.convolution', '~.conv_3x3.normalization'],
  'ir.project': ['~.reduce_1x1.convolution', '~.reduce_1x1.normalization'],
  'head.hidden': ['mobilenet_v2.conv_1x1.convolution', 'mobilenet_v2.conv_1x1.normalization'],
  'head.classifier': ['classifier'],
});

const KERAS_EFFICIENT_ROWS = {
  'stem.conv': ['stem_conv', 'stem_bn'],
  expand: ['~_expand_conv', '~_expand_bn'],
  spatial: ['~_dwconv', '~_bn'],
  gateReduce: ['~_se_reduce'],
  gateExpand: ['~_se_expand'],
  project: ['~_project_conv', '~_project_bn'],
  'head.hidden': ['top_conv', 'top_bn'],
  'head.classifier': ['predictions'],
} as const satisfies Readonly<Record<string, Row>>;

export const KERAS_EFFICIENT = keras('block{s+1}{b:a}', KERAS_EFFICIENT_ROWS);
export const KERAS_EFFICIENT_V2 = keras('block{s+1}{b:a}', {
  ...KERAS_EFFICIENT_ROWS,
  spatial: ['~_dwconv2', '~_bn'],
  'cn.expand': ['~_project_conv', '~_project_bn'],
});

export const KERAS_MOBILE_V1 = keras('conv', {
  'stem.conv': ['conv1', 'conv1_bn'],
  spatial: ['~_dw_{i+1}', '~_dw_{i+1}_bn'],
  project: ['~_pw_{i+1}', '~_pw_{i+1}_bn'],
  'head.classifier': ['conv_preds'],
});

export const KERAS_MOBILE_V2 = keras('block_{i}', {
  'stem.conv': ['Conv1', 'bn_Conv1'],
  'ds.spatial': ['expanded_conv_depthwise', 'expanded_conv_depthwise_BN'],
  'ds.project': ['expanded_conv_project', 'expanded_conv_project_BN'],
  'ir.expand': ['~_expand', '~_expand_BN'],
  'ir.spatial': ['~_depthwise', '~_depthwise_BN'],
  'ir.project': ['~_project', '~_project_BN'],
  'head.hidden': ['Conv_1', 'Conv_1_bn'],
  'head.classifier': ['predictions'],
});

export const KERAS_MOBILE_V3 = keras('expanded_conv_{i}', {
  'stem.conv': ['conv', 'conv_bn'],
  'ds.spatial': ['expanded_conv_depthwise', 'expanded_conv_depthwise_bn'],
  'ds.gateReduce': ['expanded_conv_squeeze_excite_conv'],
  'ds.gateExpand': ['expanded_conv_squeeze_excite_conv_1'],
  'ds.project': ['expanded_conv_project', 'expanded_conv_project_bn'],
  'ir.expand': ['~_expand', '~_expand_bn'],
  'ir.spatial': ['~_depthwise', '~_depthwise_bn'],
  gateReduce: ['~_squeeze_excite_conv'],
  gateExpand: ['~_squeeze_excite_conv_1'],
  'ir.project': ['~_project', '~_project_bn'],
  'cn.conv': ['conv_1', 'conv_1_bn'],
  'head.hidden': ['conv_2'],
  'head.classifier': ['logits'],
});

export const TIMM_CONV_NEXT = torch('stages.{s}.blocks.{b}', {
  'stem.conv': ['stem.0'],
  'stem.norm': ['stem.1'],
  'down.norm': ['stages.{s}.downsample.0'],
  'down.conv': ['stages.{s}.downsample.1'],
  spatial: ['~.conv_dw'],
  norm: ['~.norm'],
  expand: ['~.mlp.fc1'],
  grn: ['~.mlp.grn'],
  project: ['~.mlp.fc2'],
  scale: ['=~.gamma'],
  'head.norm': ['head.norm'],
  'head.classifier': ['head.fc'],
});

/** Stages and the layers between them are numbered through: stage s is 2s + 1, what is before it 2s. */
export const TORCHVISION_CONV_NEXT = torch('features.{2s+1}.{b}', {
  'stem.conv': ['features.0.0'],
  'stem.norm': ['features.0.1'],
  'down.norm': ['features.{2s}.0'],
  'down.conv': ['features.{2s}.1'],
  spatial: ['~.block.0'],
  norm: ['~.block.2'],
  expand: ['~.block.3'],
  project: ['~.block.5'],
  scale: ['=~.layer_scale'],
  'head.norm': ['classifier.0'],
  'head.classifier': ['classifier.2'],
});

const huggingFaceConvNext = (root: string): Naming =>
  torch(`${root}.encoder.stages.{s}.layers.{b}`, {
    'stem.conv': [`${root}.embeddings.patch_embeddings`],
    'stem.norm': [`${root}.embeddings.layernorm`],
    'down.norm': [`${root}.encoder.stages.{s}.downsampling_layer.0`],
    'down.conv': [`${root}.encoder.stages.{s}.downsampling_layer.1`],
    spatial: ['~.dwconv'],
    norm: ['~.layernorm'],
    expand: ['~.pwconv1'],
    grn: ['~.grn'],
    project: ['~.pwconv2'],
    scale: ['=~.layer_scale_parameter'],
    'head.norm': [`${root}.layernorm`],
    'head.classifier': ['classifier'],
  });
export const HUGGING_FACE_CONV_NEXT = huggingFaceConvNext('convnext');
export const HUGGING_FACE_CONV_NEXT_V2 = huggingFaceConvNext('convnextv2');

export const KERAS_CONV_NEXT = keras('{name}_stage_{s}_block_{b}', {
  'stem.conv': ['{name}_stem_conv'],
  'stem.norm': ['{name}_stem_layernorm'],
  'down.norm': ['{name}_downsampling_layernorm_{s-1}'],
  'down.conv': ['{name}_downsampling_conv_{s-1}'],
  spatial: ['~_depthwise_conv'],
  norm: ['~_layernorm'],
  expand: ['~_pointwise_conv_1'],
  project: ['~_pointwise_conv_2'],
  scale: ['~_layer_scale'],
  'head.norm': ['{name}_head_layernorm'],
  'head.classifier': ['{name}_head_dense'],
});

/** timm and torchvision agree. */
export const TORCH_RES_NET = torch('layer{s+1}.{b}', {
  'stem.conv': ['conv1', 'bn1'],
  'basic.first': ['~.conv1', '~.bn1'],
  'basic.second': ['~.conv2', '~.bn2'],
  'bottleneck.reduce': ['~.conv1', '~.bn1'],
  'bottleneck.spatial': ['~.conv2', '~.bn2'],
  'bottleneck.expand': ['~.conv3', '~.bn3'],
  shortcut: ['~.downsample.0', '~.downsample.1'],
  'head.classifier': ['fc'],
});

const HF_RES_UNIT = 'resnet.encoder.stages.{s}.layers.{b}';
export const HUGGING_FACE_RES_NET = torch(HF_RES_UNIT, {
  'stem.conv': ['resnet.embedder.embedder.convolution', 'resnet.embedder.embedder.normalization'],
  'basic.first': ['~.layer.0.convolution', '~.layer.0.normalization'],
  'basic.second': ['~.layer.1.convolution', '~.layer.1.normalization'],
  'bottleneck.reduce': ['~.layer.0.convolution', '~.layer.0.normalization'],
  'bottleneck.spatial': ['~.layer.1.convolution', '~.layer.1.normalization'],
  'bottleneck.expand': ['~.layer.2.convolution', '~.layer.2.normalization'],
  shortcut: ['~.shortcut.convolution', '~.shortcut.normalization'],
  'head.classifier': ['classifier.1'],
});

export const KERAS_RES_NET = keras('conv{s+2}_block{b+1}', {
  'stem.conv': ['conv1_conv', 'conv1_bn'],
  reduce: ['~_1_conv', '~_1_bn'],
  spatial: ['~_2_conv', '~_2_bn'],
  expand: ['~_3_conv', '~_3_bn'],
  shortcut: ['~_0_conv', '~_0_bn'],
  'head.classifier': ['predictions'],
});

export const TIMM_REG_NET = torch('s{s+1}.b{b+1}', {
  'stem.conv': ['stem.conv', 'stem.bn'],
  reduce: ['~.conv1.conv', '~.conv1.bn'],
  spatial: ['~.conv2.conv', '~.conv2.bn'],
  gateReduce: ['~.se.fc1'],
  gateExpand: ['~.se.fc2'],
  expand: ['~.conv3.conv', '~.conv3.bn'],
  shortcut: ['~.downsample.conv', '~.downsample.bn'],
  'head.classifier': ['head.fc'],
});

export const TORCHVISION_REG_NET = torch('trunk_output.block{s+1}.block{s+1}-{b}', {
  'stem.conv': ['stem.0', 'stem.1'],
  reduce: ['~.f.a.0', '~.f.a.1'],
  spatial: ['~.f.b.0', '~.f.b.1'],
  gateReduce: ['~.f.se.fc1'],
  gateExpand: ['~.f.se.fc2'],
  expand: ['~.f.c.0', '~.f.c.1'],
  shortcut: ['~.proj.0', '~.proj.1'],
  'head.classifier': ['fc'],
});

export const HUGGING_FACE_REG_NET = torch('regnet.encoder.stages.{s}.layers.{b}', {
  'stem.conv': ['regnet.embedder.embedder.convolution', 'regnet.embedder.embedder.normalization'],
  reduce: ['~.layer.0.convolution', '~.layer.0.normalization'],
  spatial: ['~.layer.1.convolution', '~.layer.1.normalization'],
  gateReduce: ['~.layer.2.attention.0'],
  gateExpand: ['~.layer.2.attention.2'],
  'x.expand': ['~.layer.2.convolution', '~.layer.2.normalization'],
  'y.expand': ['~.layer.3.convolution', '~.layer.3.normalization'],
  shortcut: ['~.shortcut.convolution', '~.shortcut.normalization'],
  'head.classifier': ['classifier.1'],
});
