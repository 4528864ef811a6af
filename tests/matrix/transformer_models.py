"""Detection transformers of mmdet with random weights that are alive: queries that attend to different places."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine import Config

from benchmarks.models import CONFIGS, PICTURES, calibrate, canvas
from boxcam.export.sources.openmmlab import config as mmdet_config
from boxcam.export.sources.openmmlab.export import build


def make(name: str, folder: Path, shape: tuple[int, int], changed: Mapping[str, Any]) -> tuple[Path, Path, Any]:
    """Config file, checkpoint file and model of a config that mmdet ships.

    Args:
        name: of the config, in mmdet's folder of configs.
        folder: where the files go.
        shape: height and width of the model's input.
        changed: settings of the config that are another.
    """
    config = Config.fromfile(CONFIGS / name)
    config.merge_from_dict(dict(changed))
    config_path = folder / Path(name).name
    config.dump(config_path)
    torch.manual_seed(0)
    read = mmdet_config.read_config(str(config_path))
    model = build(read, str(config_path))
    for module in model.backbone.modules():
        if hasattr(module, "bn3"):  # as after training, a residual block changes little; rounding grows less through 16
            torch.nn.init.constant_(module.bn3.weight, 0.1)
    calibrate(model, torch.cat([canvas(read, picture, shape) for picture in PICTURES]))
    with torch.no_grad():
        _sharpen(model)
    checkpoint = folder / "weights.pth"
    torch.save({"state_dict": model.state_dict(), "meta": {}}, checkpoint)
    return config_path, checkpoint, model.eval()


def _sharpen(model: Any) -> None:
    """Attention that is not even over all places, whose offsets depend on the query, and class logits that vary."""
    if hasattr(model, "level_embed"):
        torch.nn.init.normal_(model.level_embed)  # mmdet leaves it as it finds the memory, until init_weights()
    for module in model.modules():
        if isinstance(module, torch.nn.MultiheadAttention):
            module.in_proj_weight[: module.embed_dim] *= 3  # of the queries
        elif type(module).__name__ == "MultiScaleDeformableAttention":
            torch.nn.init.normal_(module.sampling_offsets.weight, std=0.02)
            torch.nn.init.normal_(module.attention_weights.weight, std=0.1)
        elif type(module).__name__ == "FFN":  # hidden units on or off nearly everywhere: few lie at their ReLU's kink
            hidden = module.layers[0][0]
            hidden.bias.copy_(2 * hidden.weight.norm(dim=1) * torch.randn_like(hidden.bias).sign())
    head = model.bbox_head
    for layer in [head.fc_cls] if hasattr(head, "fc_cls") else head.cls_branches:
        torch.nn.init.normal_(layer.weight, std=0.1)
