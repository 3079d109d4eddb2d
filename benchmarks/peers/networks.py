"""The compared networks as PyTorch modules, by the names they have in models/architectures.ts."""
TIMM_NAMES = {
    'efficientnet_b0': 'efficientnet_b0',
    'efficientnet_b4': 'efficientnet_b4',
    'efficientnetv2_s': 'efficientnetv2_s',
    'mobilenetv2': 'mobilenetv2_100',
    'mobilenetv3_large': 'mobilenetv3_large_100',
    'convnext_tiny': 'convnext_tiny',
    'resnet50': 'resnet50',
}


def make(name):
    """An untrained network in evaluation mode, on the CPU. timm is imported only for what it has."""
    if name == 'convfirst_tiny':
        from conv_first import convfirst_tiny

        return convfirst_tiny().eval()
    if name not in TIMM_NAMES:
        raise SystemExit(f"networks.py knows no '{name}', only convfirst_tiny {' '.join(TIMM_NAMES)}.")
    import timm

    return timm.create_model(TIMM_NAMES[name], pretrained=False).eval()
