"""Checks every architecture against those who publish weights of it, and writes the log docs/models_verified.log.

Each network gets seeded random weights, is saved by its own library (timm, torchvision, transformers as safetensors; Keras as
.weights.h5, .keras or .h5), and runs on a small seeded image. dist/benchmarks/verify_checkpoint.js then reads the file, builds the
graph model, and compares its blocks' outputs. Parameters and MACs are compared with the library's own, counted by hooks.

    pip install torch timm torchvision transformers keras tensorflow-cpu safetensors
    npm run build && python scripts/verify_models.py [NAME[:WRITER] ...]

Without names all are checked, small ones first. Lines in the log are replaced one by one, so that a part of them can be run again.
"""
import json
import os
import re
import subprocess
import sys
import tempfile

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
import numpy as np
import torch
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file as save_tensors

torch.set_num_threads(1)
torch.set_grad_enabled(False)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOG = os.path.join(ROOT, 'docs', 'models_verified.log')
SIZE = 64
SMALL_SIZE = 32  # For networks of hundreds of millions of weights.
LARGE = 150_000_000
TOLERANCE = 1e-4

TIMM_NAMES = {
    'mobilenetv1': 'mobilenetv1_100', 'mobilenetv2': 'mobilenetv2_100',
    'mobilenetv3_large': 'mobilenetv3_large_100', 'mobilenetv3_small': 'mobilenetv3_small_100',
    'tf_mobilenetv3_large': 'tf_mobilenetv3_large_100', 'tf_mobilenetv3_small': 'tf_mobilenetv3_small_100',
    'mnasnet_a1': 'semnasnet_100', 'mnasnet_b1': 'mnasnet_100',
}
TORCHVISION_NAMES = {
    'convnext_tiny': 'convnext_tiny', 'efficientnet_b0': 'efficientnet_b0', 'efficientnet_b5': 'efficientnet_b5',
    'efficientnetv2_s': 'efficientnet_v2_s', 'efficientnetv2_m': 'efficientnet_v2_m', 'mobilenetv2': 'mobilenet_v2',
    'mobilenetv3_large': 'mobilenet_v3_large', 'mobilenetv3_small': 'mobilenet_v3_small', 'mnasnet_b1': 'mnasnet1_0',
    'regnetx_004_tv': 'regnet_x_400mf', 'regnetx_008': 'regnet_x_800mf', 'regnety_008_tv': 'regnet_y_800mf',
    'regnety_080_tv': 'regnet_y_8gf', 'resnet18': 'resnet18', 'resnet50': 'resnet50',
}
KERAS_NAMES = {
    **{f'efficientnet_b{i}': f'EfficientNetB{i}' for i in range(8)},
    **{f'efficientnetv2_{v}': f'EfficientNetV2{v.upper()}' for v in ('b0', 'b1', 'b2', 'b3', 's', 'm', 'l')},
    **{f'convnext_{v.lower()}': f'ConvNeXt{v}' for v in ('Tiny', 'Small', 'Base', 'Large', 'XLarge')},
    'mobilenetv1': 'MobileNet', 'mobilenetv2': 'MobileNetV2',
    'mobilenetv3_large': 'MobileNetV3Large', 'mobilenetv3_small': 'MobileNetV3Small',
    'resnet50': 'ResNet50', 'resnet101': 'ResNet101', 'resnet152': 'ResNet152',
}


# Random networks amplify roundings from block to block. Beyond this many, two correct float32 runs no longer agree, so there the
# last batch norm of each block is made small.
DEEP = 60
LAST_NORM = re.compile(r'(bn3|project_bn)[./](weight|gamma)$')


def make_value(name, shape, generator, deep=False):
    """Weights of such a scale that values stay of order one through the whole network."""
    uniform = lambda low, high: generator.uniform(low, high, shape).astype(np.float32)
    leaf = name.split('/')[-1].split('.')[-1]
    if leaf in ('running_var', 'moving_variance'):
        return uniform(0.8, 1.2)
    if leaf in ('running_mean', 'moving_mean'):
        return uniform(-0.1, 0.1)
    if 'grn' in name:
        return uniform(-0.2, 0.2)
    if 'layer_scale' in name or leaf == 'variable' or (leaf == 'gamma' and 'stages' in name):
        return uniform(0.2, 0.6)
    if len(shape) >= 2 and np.prod(shape) > max(shape):
        keras = leaf in ('kernel', 'depthwise_kernel')
        fan = np.prod(shape[:-1]) if keras and shape[-1] != 1 else np.prod(shape[:2] if keras else shape[1:])
        return uniform(-1, 1) * np.float32(2 / np.sqrt(fan))
    if deep and LAST_NORM.search(name):
        return uniform(0.2, 0.4)
    if leaf in ('weight', 'gamma'):
        return uniform(0.8, 1.2)
    return uniform(-0.1, 0.1)


def is_deep(arch):
    return sum(DESCRIPTIONS[arch]['blocks'].values()) > DEEP


def make_image(size):
    return np.random.default_rng(3).uniform(-1, 1, (1, size, size, 3)).astype(np.float32)


def units_of(arch):
    out = subprocess.run(['node', 'dist/benchmarks/list_units.js', arch], cwd=ROOT, check=True, capture_output=True)
    return json.loads(out.stdout)


def count_macs(model, size):
    """By the shapes that convolutions and dense layers see."""
    total = [0]

    def count(module, _inputs, output):
        if isinstance(module, torch.nn.Conv2d):
            total[0] += output.numel() * module.weight[0].numel()
        else:
            total[0] += output.numel() * module.in_features

    handles = [m.register_forward_hook(count) for m in model.modules()
               if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
    model(torch.zeros(1, 3, size, size, device='meta'))
    for handle in handles:
        handle.remove()
    return total[0]


def module_of(model, arch, source, unit):
    """The module that computes a unit, where this library has one; else None."""
    at = unit['at']
    if 'b' not in at:
        return None
    s, b, i = at['s'], at['b'], at.get('i', 0)
    features = f'features.{i + 1}' if 'mobilenet' in arch else f'features.{2 * s + 1 if "convnext" in arch else s + 1}.{b}'
    paths = {
        'timm': [f'blocks.{s}.{b}', f'stages.{s}.blocks.{b}', f'layer{s + 1}.{b}', f's{s + 1}.b{b + 1}'],
        'torchvision': [f'trunk_output.block{s + 1}.block{s + 1}-{b}', f'layer{s + 1}.{b}', f'layers.{s + 7}.{b}', features],
        'huggingface': [f'{root}.encoder.stages.{s}.layers.{b}' for root in ('convnext', 'convnextv2', 'resnet', 'regnet')]
                       + [f'efficientnet.encoder.blocks.{i}', f'mobilenet_v1.layer.{2 * i + 1}', f'mobilenet_v2.layer.{i - 1}'],
    }[source]
    for path in paths:
        try:
            return model.get_submodule(path)
        except AttributeError:
            pass
    return None


def torch_case(make, source, arch, folder, dtype=torch.float32, size=None):
    try:
        with torch.device('meta'):
            model = make().eval()
    except NotImplementedError:  # torchvision's RegNet computes its widths with tensors.
        model = make().eval().to('meta')
    parameters = sum(p.numel() for p in model.parameters())
    described = DESCRIPTIONS[arch]
    macs = count_macs(model, described['size'])
    model = model.to_empty(device='cpu')  # The library's own initial values would cost more than all the rest.
    deep = is_deep(arch)
    generator = np.random.default_rng(7)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.from_numpy(make_value(name, tuple(tensor.shape), generator, deep)))
    checkpoint = os.path.join(folder, 'model.safetensors')
    saved = model if dtype == torch.float32 else model.to(dtype)
    save_tensors({k: v.contiguous() for k, v in saved.state_dict().items()}, checkpoint)
    model = saved.to(torch.float32)
    outputs = {}
    for unit in units_of(arch):
        module = module_of(model, arch, source, unit)
        if module is not None:
            module.register_forward_hook(lambda _m, _i, out, name=unit['name']: outputs.__setitem__(
                name, np.ascontiguousarray(out.permute(0, 2, 3, 1).numpy())))
    image = make_image(size or (SMALL_SIZE if parameters > LARGE else SIZE))
    result = model(torch.from_numpy(image).permute(0, 3, 1, 2))
    outputs['head'] = np.ascontiguousarray((result if torch.is_tensor(result) else result.logits).numpy())
    outputs['image'] = image
    return checkpoint, outputs, parameters, macs


# transformers pads by a list of blocks whose maps are odd at the published size; at this one the same are.
HUGGING_FACE_SIZES = {'efficientnet_b3': 44}


def huggingface_makers():
    from transformers import (AutoModelForImageClassification as Auto, ConvNextConfig, ConvNextV2Config, EfficientNetConfig,
                              MobileNetV1Config, MobileNetV2Config, RegNetConfig, ResNetConfig)
    named = dict(num_labels=1000)
    configs = {
        'convnext_tiny': lambda: ConvNextConfig(**named),
        'convnextv2_atto': lambda: ConvNextV2Config(depths=[2, 2, 6, 2], hidden_sizes=[40, 80, 160, 320], **named),
        'resnet18': lambda: ResNetConfig(layer_type='basic', hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], **named),
        'resnet50': lambda: ResNetConfig(**named),
        'regnetx_002': lambda: RegNetConfig(layer_type='x', embedding_size=32, hidden_sizes=[24, 56, 152, 368],
                                            depths=[1, 1, 4, 7], groups_width=8, **named),
        'regnety_004': lambda: RegNetConfig(layer_type='y', embedding_size=32, hidden_sizes=[48, 104, 208, 440],
                                            depths=[1, 3, 6, 6], groups_width=8, **named),
        'efficientnet_b0': lambda: EfficientNetConfig(width_coefficient=1.0, depth_coefficient=1.0, hidden_dim=1280, **named),
        'efficientnet_b3': lambda: EfficientNetConfig(width_coefficient=1.2, depth_coefficient=1.4, hidden_dim=1536,
                                                      depthwise_padding=[5, 18], **named),
        'mobilenetv1': lambda: MobileNetV1Config(**named),
        'mobilenetv2': lambda: MobileNetV2Config(**named),
    }
    return {arch: (lambda config=config: Auto.from_config(config())) for arch, config in configs.items()}


class ConvFirst(torch.nn.Module):
    """The paper's blocks in PyTorch, read off figure 6; modules are named as our own name map has them."""

    def __init__(self, width, depths, classes=1000):
        super().__init__()
        self.stem = self.convs(conv=(3, width, 4, 4, 1))
        self.stages = torch.nn.ModuleList()
        for s, depth in enumerate(depths):
            c = width * 2 ** s
            stage = torch.nn.ModuleDict()
            if s > 0:
                half = c // 2
                stage['downsample'] = self.convs(spatial=(half, half, 3, 1, half // 8), expand=(c, 2 * c, 1, 1, 1),
                                                 project=(2 * c, c, 1, 1, 1))
            for b in range(depth):
                stage[str(b)] = (
                    self.convs(spatial=(c, c, 3, 1, c // 8), expand=(c, 6 * c, 1, 1, 1), project=(6 * c, c, 1, 1, 1)) if s < 2 else
                    self.convs(expand=(c, 4 * c, 1, 1, 1), spatial=(4 * c, 4 * c, 3, 1, 4 * c // 8), project=(4 * c, c, 1, 1, 1)))
            self.stages.append(stage)
        self.head = torch.nn.ModuleDict({'classifier': torch.nn.Linear(c, classes)})

    @staticmethod
    def convs(**layers):
        block = torch.nn.ModuleDict()
        for name, (inputs, outputs, kernel, stride, groups) in layers.items():
            padding = 1 if kernel == 3 else 0
            block[name] = torch.nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
            block[f'{name}_norm'] = torch.nn.BatchNorm2d(outputs)
        return block

    @staticmethod
    def apply(block, name, x):
        return block[f'{name}_norm'](block[name](x))

    def forward(self, x):
        relu = torch.nn.functional.relu
        x = self.apply(self.stem, 'conv', x)
        self.outputs = {}
        for s, stage in enumerate(self.stages):
            for name, block in stage.items():
                y = x
                if name == 'downsample':
                    y = torch.cat([self.apply(block, 'spatial', x), x], 1)
                    blur = torch.tensor([1.0, 2.0, 1.0]) / 4
                    kernel = (blur[:, None] * blur[None, :]).expand(y.shape[1], 1, 3, 3)
                    y = torch.nn.functional.pad(y, (1, 1, 1, 1), mode='reflect')
                    y = torch.nn.functional.conv2d(y, kernel, stride=2, groups=y.shape[1])
                    x = self.apply(block, 'project', relu(self.apply(block, 'expand', y)))
                elif s < 2:
                    y = self.apply(block, 'spatial', x)
                    x = x + self.apply(block, 'project', relu(self.apply(block, 'expand', y)))
                else:
                    y = relu(self.apply(block, 'spatial', relu(self.apply(block, 'expand', x))))
                    x = x + self.apply(block, 'project', y)
                self.outputs[f'stages.{s}.{name}'] = x
        return self.head['classifier'](x.mean((2, 3)))


def conv_first_case(arch, folder):
    described = DESCRIPTIONS[arch]
    model = ConvFirst(described['width'], described['depths']).eval()
    generator = np.random.default_rng(7)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.from_numpy(make_value(name, tuple(tensor.shape), generator)))
    checkpoint = os.path.join(folder, 'model.safetensors')
    save_tensors(model.state_dict(), checkpoint)
    image = make_image(SIZE)
    head = model(torch.from_numpy(image).permute(0, 3, 1, 2)).numpy()
    outputs = {name: np.ascontiguousarray(x.permute(0, 2, 3, 1).numpy()) for name, x in model.outputs.items()}
    parameters = sum(p.numel() for p in model.parameters())
    return checkpoint, {**outputs, 'head': head, 'image': image}, parameters, None


def keras_layer_names(model, arch, units):
    """The layer whose output is a unit's, for units that end in a layer of their own."""
    names = {layer.name for layer in model.layers}
    adds = iter(op for op in model.operations if type(op).__name__ == 'Add')
    found = {}
    for unit in units:
        at, form = unit['at'], unit['form']
        if 'b' not in at:
            continue
        s, b, i = at['s'], at['b'], at.get('i', 0)
        letter = chr(97 + b)
        block = [f'block{s + 1}{letter}', f'block_{i}', f'expanded_conv_{i}' if i else 'expanded_conv', 'expanded_conv']
        ends = [f'conv{s + 2}_block{b + 1}_out', f'conv_pw_{i + 1}_relu']
        ends += [f'{block[0]}_add', f'{block[0]}_project_activation' if form == 'cn' else f'{block[0]}_project_bn']
        if arch == 'mobilenetv2':
            ends = [f'block_{i}_add', f'block_{i}_project_BN'] if i else ['expanded_conv_project_BN']
        if arch.startswith('mobilenetv3'):
            ends = [f'{block[2]}_add', f'{block[2]}_project_bn']
        end = next(adds) if arch.startswith('convnext') else next((end for end in ends if end in names), None)
        if end:
            found[unit['name']] = end
    return found


def keras_case(name, arch, folder, suffix):
    import keras
    keras.backend.clear_session()
    large = DESCRIPTIONS[arch]['parameters'] > LARGE
    size = SMALL_SIZE if large else SIZE
    arguments = dict(weights=None, input_shape=(size, size, 3), classifier_activation=None)
    scale = 1.0
    if name.startswith(('EfficientNetV2', 'MobileNetV3', 'ConvNeXt')):
        arguments['include_preprocessing'] = False
    elif name.startswith('EfficientNet'):
        scale = 255.0  # A Rescaling layer divides by it; the Normalization behind it does nothing before it is adapted.
    model = getattr(keras.applications, name)(**arguments)
    generator = np.random.default_rng(7)
    for weight in model.weights:
        if 'normalization/' not in weight.path or 'batch' in weight.path or 'layer' in weight.path:
            weight.assign(make_value(weight.path, tuple(weight.shape), generator, is_deep(arch)))
    checkpoint = os.path.join(folder, f'model{suffix}')
    if suffix == '.weights.h5':
        model.save_weights(checkpoint)
    else:
        model.save(checkpoint)
    ends = keras_layer_names(model, arch, units_of(arch))
    probe = keras.Model(model.input, [(model.get_layer(end) if isinstance(end, str) else end).output for end in ends.values()] + [model.output])
    image = make_image(size)
    results = [np.asarray(value) for value in probe.predict(image * scale, verbose=0)]
    outputs = dict(zip([*ends, 'head'], results))
    outputs['image'] = image
    parameters = int(sum(np.prod(weight.shape) for weight in model.trainable_weights))
    return checkpoint, outputs, parameters, None


def verify(arch, source, case):
    naming = source.split()[0]
    if naming not in DESCRIPTIONS[arch]['sources']:
        naming = 'timm'  # torchvision names its ResNets' tensors as timm does.
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, outputs, parameters, macs = case(folder)
        expected = os.path.join(folder, 'outputs.safetensors')
        save_arrays(outputs, expected)
        node = subprocess.run(['node', '--max-old-space-size=8192', 'dist/benchmarks/verify_checkpoint.js', arch, checkpoint, expected, naming],
                              cwd=ROOT, capture_output=True, text=True)
    if node.returncode != 0:
        return f'{arch:26} {source:17} FAILED {node.stderr.strip()[-400:]}'
    result = json.loads(node.stdout)
    described = DESCRIPTIONS[arch]
    faults = []
    if result['parameters'] != parameters:
        faults.append(f"parameters {result['parameters']}, theirs {parameters}")
    if macs is not None and described['macs'] != macs:
        faults.append(f"MACs {described['macs']}, theirs {macs}")
    if result['worst'] > TOLERANCE:
        faults.append(f"error above {TOLERANCE} at {result['at']}")
    verdict = '; '.join(faults) if faults else 'ok'
    counted = '-' if macs is None else macs
    return (f"{arch:26} {source:17} {os.path.basename(checkpoint):18} {parameters:>11} {counted:>13} "
            f"{result['compared']:>3} outputs, largest error {result['worst']:.1e}  {verdict}")


def cases():
    import timm
    import torchvision
    for arch, make in huggingface_makers().items():
        yield arch, 'huggingface', lambda folder: torch_case(make, 'huggingface', arch, folder, size=HUGGING_FACE_SIZES.get(arch))
    for dtype, arch in ((torch.float16, 'resnet18'), (torch.bfloat16, 'convnext_atto')):
        yield arch, f'timm {str(dtype)[6:]}', lambda folder: torch_case(lambda: timm.create_model(arch), 'timm', arch, folder, dtype)
    for arch, description in sorted(DESCRIPTIONS.items(), key=lambda item: item[1]['parameters']):
        sources = description['sources']
        if 'width' in description:
            yield arch, 'own', lambda folder: conv_first_case(arch, folder)
        if 'timm' in sources:
            name = TIMM_NAMES.get(arch, arch)
            yield arch, 'timm', lambda folder: torch_case(lambda: timm.create_model(name), 'timm', arch, folder)
        if arch in TORCHVISION_NAMES:
            make = lambda: torchvision.models.get_model(TORCHVISION_NAMES[arch])
            yield arch, 'torchvision', lambda folder: torch_case(make, 'torchvision', arch, folder)
        if arch in KERAS_NAMES:
            suffix = {'efficientnet_b0': '.keras', 'mobilenetv2': '.h5', 'convnext_tiny': '.h5'}.get(arch, '.weights.h5')
            yield arch, 'keras', lambda folder: keras_case(KERAS_NAMES[arch], arch, folder, suffix)


HEADER = 'architecture, writer, file, parameters, MACs, blocks compared and their largest error'


def key_of(line):
    return line[:44].strip()


def write_log(results):
    """Puts new lines in place of old ones of the same architecture and writer; those of no architecture any more go."""
    import keras, timm, torchvision, transformers
    old = open(LOG).read().split('\n')[3:] if os.path.exists(LOG) else []
    lines = {key_of(line): line for line in [*old, *results] if line}
    order = list(DESCRIPTIONS)
    kept = sorted((line for line in lines.values() if line.split()[0] in order), key=lambda line: order.index(line.split()[0]))
    versions = ', '.join(f'{m.__name__} {m.__version__}' for m in (torch, timm, torchvision, transformers, keras))
    with open(LOG, 'w') as log:
        log.write('\n'.join([versions, HEADER, '', *kept]) + '\n')


def main(wanted):
    listed = subprocess.run(['node', 'dist/benchmarks/list_units.js'], cwd=ROOT, check=True, capture_output=True)
    DESCRIPTIONS.update({row['name']: row for row in json.loads(listed.stdout)})
    lines = []
    for arch, source, case in cases():
        if wanted and f'{arch}:{source}' not in wanted and arch not in wanted:
            continue
        line = verify(arch, source, case)
        print(line, flush=True)
        lines.append(line)
        write_log([line])
    return 0 if lines and all(line.endswith('ok') for line in lines) else 1


DESCRIPTIONS = {}
if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
