"""ConvFirst-T in PyTorch, layer for layer as models/families/conv_first.ts has it; timm has no such network."""
import torch
from torch import nn
from torch.nn import functional

WIDTH, DEPTHS, GROUP_WIDTH, CONV_FIRST_STAGES = 48, (5, 5, 13, 8), 8, 2


def conv(inputs, outputs, kernel=1, group_width=None, activation=False):
    groups = inputs // group_width if group_width else 1
    layers = [
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return layers + [nn.ReLU()] if activation else layers


class ConvFirst(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.layers = nn.Sequential(
            *conv(channels, channels, 3, GROUP_WIDTH),
            *conv(channels, 6 * channels, activation=True),
            *conv(6 * channels, channels),
        )

    def forward(self, x):
        return x + self.layers(x)


class MBConv(nn.Module):
    def __init__(self, channels):
        super().__init__()
        hidden = 4 * channels
        self.layers = nn.Sequential(
            *conv(channels, hidden, activation=True),
            *conv(hidden, hidden, 3, GROUP_WIDTH, activation=True),
            *conv(hidden, channels),
        )

    def forward(self, x):
        return x + self.layers(x)


class Down(nn.Module):
    """Concat of the input with its convolution, blur-pool of stride 2, two 1×1 convolutions."""

    def __init__(self, channels):
        super().__init__()
        self.spatial = nn.Sequential(*conv(channels, channels, 3, GROUP_WIDTH))
        taps = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer('blur', (taps[:, None] * taps).expand(2 * channels, 1, 3, 3).clone())
        self.mix = nn.Sequential(
            *conv(2 * channels, 4 * channels, activation=True), *conv(4 * channels, 2 * channels)
        )

    def forward(self, x):
        both = functional.pad(torch.cat([self.spatial(x), x], 1), (1, 1, 1, 1), mode='reflect')
        return self.mix(functional.conv2d(both, self.blur, stride=2, groups=both.shape[1]))


def convfirst_tiny(classes=1000):
    layers = [nn.Conv2d(3, WIDTH, 4, stride=4, bias=False), nn.BatchNorm2d(WIDTH)]
    for stage, depth in enumerate(DEPTHS):
        channels = WIDTH << stage
        block = ConvFirst if stage < CONV_FIRST_STAGES else MBConv
        layers += [Down(channels // 2)] if stage else []
        layers += [block(channels) for _ in range(depth)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH << 3, classes))
