"""Detection transformers of mmdet with random weights that are alive: queries that attend to different places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine import Config

from benchmarks import models
from boxcam.export.sources import mmdet as source
from boxcam.export.sources import mmdet_config
from boxcam.runtime.images import read_image
from boxcam.runtime.preprocess import prepare


def make(
    name: str, folder: Path, shape: tuple[int, int], pictures: Sequence[Path], changed: Mapping[str, Any]
) -> tuple[Path, Path, Any]:
    """Config, checkpoint and model of a config that mmdet ships.

    Args:
        name: of the config.
        folder: where the files go.
        shape: height and width of the model's input.
        pictures: what it is calibrated on.
        changed: settings of the config that are another.
    """
    config = Config.fromfile(models.CONFIGS / name)
    config.merge_from_dict(dict(changed))
    config_path = folder / Path(name).name
    config.dump(config_path)
    torch.manual_seed(0)
    model = source.build(mmdet_config.read_config(str(config_path)), str(config_path))
    spec = mmdet_config.preprocess(config, str(config_path), shape)
    images = torch.cat([torch.from_numpy(prepare(read_image(picture), spec)[0]) for picture in pictures])
    models.calibrate(model, images)
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
    head = model.bbox_head
    for layer in [head.fc_cls] if hasattr(head, "fc_cls") else head.cls_branches:
        torch.nn.init.normal_(layer.weight, std=0.1)
