"""Train the demo detector, or evaluate the checkpoint that lies beside this file.

    python examples/signs/train.py              # draw the scenes if they are missing, train, write signs.pth
    python examples/signs/train.py --evaluate   # mAP50 of signs.pth on held-out scenes

Run it from the root of the repository, with boxcam and its mmdet extra installed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import scenes
import torch

from boxcam.export.sources.openmmlab import compat

HERE = Path(__file__).resolve().parent
CHECKPOINT = HERE / "signs.pth"


def train(data: Path, work: Path, epochs: int | None, seed: int, counts: dict[str, int]) -> None:
    """Train on the scenes in ``data`` (drawn first where they are missing) and write `CHECKPOINT`."""
    for split, count in counts.items():
        if not (data / f"{split}.json").exists():
            scenes.write_split(data, split, count, seed)
    config = _config(data, work)
    if epochs is not None:
        _set_epochs(config, epochs)
    runner = _runner(config)
    start = time.perf_counter()
    runner.train()
    minutes = (time.perf_counter() - start) / 60
    parameters = sum(parameter.numel() for parameter in runner.model.parameters())
    print(f"trained {parameters:,} parameters in {minutes:.1f} minutes")
    write_checkpoint(runner.model, CHECKPOINT)


def write_checkpoint(model: torch.nn.Module, path: Path) -> None:
    """Write the weights as float16, without BatchNorm's step counters, and the names of the classes."""
    weights = {name: value.half().clone() for name, value in model.state_dict().items() if value.dtype == torch.float32}
    meta = {
        "dataset_meta": {"classes": scenes.LABELS},
        "description": "boxcam's demo detector: five traffic signs in drawn scenes",
    }
    torch.save({"state_dict": weights, "meta": meta}, path)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The weights of a checkpoint that `write_checkpoint` wrote, as float32."""
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    return {name: value.float() for name, value in checkpoint["state_dict"].items()}


def evaluate(count: int, seed: int) -> dict[str, float]:
    """COCO figures of `CHECKPOINT`, and each label's AP50, on ``count`` held-out scenes, drawn afresh."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        scenes.write_split(data, "val", count, seed)
        config = _config(data, data / "work")
        config.train_dataloader = config.train_cfg = config.optim_wrapper = config.param_scheduler = None
        config.test_evaluator.outfile_prefix = str(data / "found")
        runner = _runner(config)
        runner.model.load_state_dict(read_weights(CHECKPOINT), strict=True)
        figures: dict[str, float] = runner.test()
        return figures | _by_class(data / "val.json", data / "found.bbox.json")


def _by_class(truth: Path, found: Path) -> dict[str, float]:
    """Average precision of each class at IoU 0.5, by label."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    coco = COCO(truth)
    evaluation = COCOeval(coco, coco.loadRes(str(found)), "bbox")
    evaluation.params.iouThrs = np.array([0.5])
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"][0, :, :, 0, -1]  # recall × class, at any area and the most detections
    return {label: float(precision[:, index].mean()) for index, label in enumerate(scenes.LABELS)}


def _config(data: Path, work: Path) -> Any:
    from mmengine.config import Config

    config = Config.fromfile(HERE / "config.py")
    config.work_dir = str(work)
    for split in ("train", "val", "test"):
        config[f"{split}_dataloader"].dataset.data_root = str(data)
    for evaluator in (config.val_evaluator, config.test_evaluator):
        evaluator.ann_file = str(data / "val.json")
    return config


def _set_epochs(config: Any, epochs: int) -> None:
    config.train_cfg.max_epochs = config.train_cfg.val_interval = config.default_hooks.checkpoint.interval = epochs
    config.param_scheduler[-1].update(end=epochs, T_max=epochs)


def _runner(config: Any) -> Any:
    from mmengine.runner import Runner

    return Runner.from_cfg(config)


def _report(figures: dict[str, float]) -> None:
    print(f"mAP50 {figures['coco/bbox_mAP_50']:.3f}, mAP {figures['coco/bbox_mAP']:.3f}")
    for label in scenes.LABELS:
        print(f"  {label:20} AP50 {figures[label]:.3f}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluate", action="store_true", help="evaluate signs.pth instead of training")
    parser.add_argument("--data", type=Path, default=HERE / "data", help="folder of the scenes")
    parser.add_argument("--work", type=Path, default=HERE / "work", help="folder for logs and mmengine's checkpoints")
    parser.add_argument("--epochs", type=int, help="instead of the configuration's")
    parser.add_argument("--train", type=int, default=3000, help="training scenes to draw if they are missing")
    parser.add_argument("--val", type=int, default=300, help="held-out scenes to draw")
    parser.add_argument("--seed", type=int, default=0, help="of the scenes")
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with compat.bridged():
        if not options.evaluate:
            train(
                options.data, options.work, options.epochs, options.seed, {"train": options.train, "val": options.val}
            )
        _report(evaluate(options.val, options.seed))


if __name__ == "__main__":
    main()
