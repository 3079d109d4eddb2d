"""ONNX files of the networks for onnxruntime, with a free batch (dimension 'b') and fixed image size.

    python3 export_onnx.py NETWORK… --out DIR [--size 224]

Needs torch, timm (but not for ConvFirst) and onnx. Weights are random: only the time counts.
"""
import argparse
import os
import warnings

import torch
from networks import make

warnings.filterwarnings('ignore')

parser = argparse.ArgumentParser()
parser.add_argument('networks', nargs='+')
parser.add_argument('--out', required=True)
parser.add_argument('--size', type=int, default=224)
args = parser.parse_args()
os.makedirs(args.out, exist_ok=True)

for name in args.networks:
    model = make(name)
    path = f'{args.out}/{name}.onnx'
    # Batch norms are folded by the exporter.
    torch.onnx.export(
        model,
        torch.randn(2, 3, args.size, args.size),
        f'{path}.part',
        input_names=['x'],
        output_names=['y'],
        dynamic_axes={'x': {0: 'b'}, 'y': {0: 'b'}},
        opset_version=17,
        dynamo=False,
    )
    os.rename(f'{path}.part', path)
    print(path, os.path.getsize(path), flush=True)
