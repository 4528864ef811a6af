"""What ``boxcam explain`` does for the demo detector, as it is done in torch: mmdet and pytorch-grad-cam.

    python benchmarks/cold_torch.py IMAGE FOLDER

One heatmap over the picture for each of the ten best boxes, on the level of the neck that drew it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.image import show_cam_on_image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

SIGNS = ROOT / "examples" / "signs"
SCORE, MOST = 0.3, 10  # as `boxcam explain` has them


class Logits(torch.nn.Module):
    """Image → all class logits, level by level, in a list of one."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: torch.Tensor) -> list[Any]:
        return [self.model.bbox_head(self.model.extract_feat(image))[0]]


def main(picture: str, folder: Path) -> None:
    from boxcam.export.sources.openmmlab.compat import bridged, load_checkpoint  # mmcv without compiled operators

    with bridged():
        from mmdet.apis import inference_detector, init_detector

        model = init_detector(str(SIGNS / "config.py"), None, device="cpu")
        model.load_state_dict(load_checkpoint(SIGNS / "signs.pth")["state_dict"])
        pixels = cv2.imread(picture)
        found = inference_detector(model, pixels).pred_instances
        pipeline_input: dict[str, Any] = {}
        handle = model.backbone.register_forward_pre_hook(lambda _, given: pipeline_input.update(image=given[0]))
        inference_detector(model, pixels)
        handle.remove()
        image = pipeline_input["image"]
        network = Logits(model)
        with torch.no_grad():
            (levels,) = network(image)
        folder.mkdir(parents=True, exist_ok=True)
        best = [k for k in found.scores.argsort(descending=True).tolist() if found.scores[k] >= SCORE][:MOST]
        for number, k in enumerate(best):
            # NMS has lost which logit it was; in the same pass it is the one with the very score.
            level, index = min(
                ((i, int((scores.sigmoid() - found.scores[k]).abs().argmin())) for i, scores in enumerate(levels)),
                key=lambda at: abs(float(levels[at[0]].flatten()[at[1]].sigmoid() - found.scores[k])),
            )
            with GradCAM(model=network, target_layers=[model.neck.fpn_convs[level]]) as cam:
                heat = cam(input_tensor=image, targets=[lambda maps, i=level, at=index: maps[i].flatten()[at]])[0]
            height, width = pixels.shape[:2]
            canvas = cv2.resize(heat, (width, height))
            shown = show_cam_on_image(pixels.astype(np.float32) / 255, canvas)
            cv2.imwrite(str(folder / f"{number}.png"), shown)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
