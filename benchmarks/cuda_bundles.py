"""Detectors with live random weights, exported for `benchmarks/cuda.py`, which runs where they cannot be exported.

python benchmarks/cuda_bundles.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
SIZE = 320


def main(folder: Path) -> None:
    """Export a one-stage detector, a two-stage one and a YOLO into a folder; what is there already stays."""
    import boxcam
    from benchmarks import models
    from benchmarks.cases import PICTURE

    def mmdet(config: str) -> tuple[Path, Path]:
        return models.make(config, folder, (SIZE, SIZE), [PICTURE], all_levels=True)[:2]

    def mmyolo() -> tuple[Path, Path]:
        import mmyolo

        from tests.matrix import yolo_models

        config = (
            Path(mmyolo.__file__).parent / ".mim" / "configs" / "yolov8" / "yolov8_s_syncbn_fast_8xb16-500e_coco.py"
        )
        return config, yolo_models.make(config, folder, (SIZE, SIZE), [PICTURE])[0]

    made = {
        "yolov8-s": mmyolo,
        "retinanet-r50": lambda: mmdet("retinanet/retinanet_r50_fpn_1x_coco.py"),
        "faster-rcnn-r50": lambda: mmdet("faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in made.items():
        target = folder / f"{name}.boxcam"
        if not target.exists():
            print(f"exporting {name} ...", flush=True)
            boxcam.export(*make(), output=target, shape=(SIZE, SIZE), sample=PICTURE, engine="onnx")


if __name__ == "__main__":
    from boxcam.export.sources.openmmlab.compat import bridged

    with bridged():
        main(Path(sys.argv[1]))
