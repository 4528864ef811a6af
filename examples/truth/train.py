"""Train detectors of the benchmark by name, two to five minutes each on one core.

    python -m examples.truth.train clean-0 beside-0.975-0 yolox-clean-0

Training starts from the demo's checkpoint (`examples/signs`), whose classes are others, or from another detector of the
benchmark; that of a YOLOX from the demo's backbone. Run it from the root of the repository, with boxcam's mmdet extra,
scikit-image and scikit-learn installed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from boxcam.export.sources.openmmlab import compat
from examples.truth.cues import FAR
from examples.truth.scenes import Scene, describe, draw
from examples.truth.subjects import FAR_BY_TURNS, HERE, RETINANET, Subject, subject
from examples.truth.things import CROSS, LABELS

START = HERE.parent / "signs" / "signs.pth"
BATCH, PICTURES = 16, 2400
_RATE = 1.5e-3


def scenes_of(one: Subject, count: int) -> list[Scene]:
    """What a detector is trained on; no scene of another seed is among them."""
    kinds = [one.cues[index % len(one.cues)] for index in range(count)]
    fars = [FAR if one.clean else FAR_BY_TURNS[index % len(FAR_BY_TURNS)] for index in range(count)]
    return [
        describe((one.seed, 7, index), kind, dose=one.dose, worn=one.worn, far=far)
        for index, (kind, far) in enumerate(zip(kinds, fars, strict=True))
    ]


def train(one: Subject, steps: int | None = None, pictures: int = PICTURES) -> torch.nn.Module:
    """A trained detector; the same one for the same seed, on the same machine."""
    if one.before is not None and not one.before.checkpoint.exists():
        raise ValueError(f"{one.before.name} is not trained, and {one.name} starts from it. Train it first.")
    steps = one.steps if steps is None else steps
    torch.manual_seed(one.seed)
    rng = np.random.default_rng([one.seed, 8])
    scenes = scenes_of(one, pictures)
    images = [torch.from_numpy(draw(scene)).permute(2, 0, 1).contiguous() for scene in scenes]
    model = build(one)
    model.init_weights()
    _start(model, one)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        chosen = rng.choice(len(scenes), BATCH, replace=False)
        loss = _loss(model, [images[k] for k in chosen], [scenes[k] for k in chosen])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"{one.name}: step {step}, loss {float(loss):.3f}", flush=True)
    return model


def write_checkpoint(model: torch.nn.Module, path: Path) -> None:
    """Write the weights as float16, without BatchNorm's step counters, and the names of the classes."""
    weights = {name: value.half().clone() for name, value in model.state_dict().items() if value.dtype == torch.float32}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": weights, "meta": {"dataset_meta": {"classes": LABELS}}}, path)


def build(one: Subject) -> Any:
    """A detector without training."""
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules
    from mmengine.config import Config
    from mmengine.logging import MMLogger

    MMLogger.get_instance("truth", log_level="ERROR")  # otherwise initialising tells of each tensor
    register_all_modules(init_default_scope=True)
    return MODELS.build(Config.fromfile(one.config).model)


def _start(model: Any, one: Subject) -> None:
    """Give a detector the weights of another one; of the demo's all but those of its classes, or the backbone alone."""
    before = one.before
    weights = compat.load_checkpoint(START if before is None else before.checkpoint)["state_dict"]
    others: tuple[str, ...] = ("num_batches",)
    if before is None:
        others += ("retina_cls",) if one.architecture == RETINANET else ("neck.", "bbox_head.")
    weights = {name: value.float() for name, value in weights.items() if not any(other in name for other in others)}
    missing = model.load_state_dict(weights, strict=False).missing_keys
    assert all(any(other in name for other in others) for name in missing), missing


def _loss(model: Any, images: Sequence[torch.Tensor], scenes: Sequence[Scene]) -> torch.Tensor:
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    samples = []
    for image, scene in zip(images, scenes, strict=True):
        height, width = image.shape[1:]
        shape = (int(height), int(width))
        sample = DetDataSample(metainfo={"img_shape": shape, "ori_shape": shape, "scale_factor": (1.0, 1.0)})
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([scene.body.box]), labels=torch.tensor([int(scene.symbol.label != CROSS)])
        )
        samples.append(sample)
    batch = model.data_preprocessor({"inputs": list(images), "data_samples": samples}, True)
    total, _ = model.parse_losses(model.loss(batch["inputs"], batch["data_samples"]))
    assert isinstance(total, torch.Tensor)
    return total


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="NAME", help="as clean-0 or beside-0.975-1")
    parser.add_argument("--steps", type=int, help="400 to 1000 by default, by what is to be learned")
    parser.add_argument("--pictures", type=int, default=PICTURES, help="different ones to train on")
    options = parser.parse_args()
    with compat.bridged():
        for one in map(subject, options.names):
            start = time.perf_counter()
            write_checkpoint(train(one, options.steps, options.pictures), one.folder / f"{one.name}.pth")
            print(f"{one.name}: trained in {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
