"""Batch norms folded into the convolutions in front of them, as a converter for inference does."""
import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


def folded(model, example):
    """A copy of a model in evaluation mode without those batch norms. What follows what is seen in one run on `example`."""
    model = copy.deepcopy(model)
    made, pairs, hooks = {}, [], []  # `made` keeps the outputs, so that no other tensor gets their id.

    def after_conv(conv, _, output):
        made[id(output)] = (conv, output)

    def after_norm(norm, inputs, _):
        if id(inputs[0]) in made:
            pairs.append((made[id(inputs[0])][0], norm))

    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(after_conv))
        elif isinstance(module, nn.BatchNorm2d):
            hooks.append(module.register_forward_hook(after_norm))
    with torch.no_grad():
        model(example)
    for hook in hooks:
        hook.remove()

    owners = {child: (parent, name) for parent in model.modules() for name, child in parent.named_children()}
    for conv, norm in pairs:
        statistics = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
        conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, conv.bias, *statistics)
        parent, name = owners[norm]
        setattr(parent, name, getattr(norm, 'act', nn.Identity()))  # timm's norm has its activation inside.
    return model


def norms_left(model):
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
