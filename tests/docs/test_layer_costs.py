"""What the page about layers says of their cost is what the benchmark measured."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import text_of

COSTS = {
    ("RetinaNet-R50 800x800", "neck"): r"`neck`, the default .* ([\d.]+) \(RetinaNet, 800x800\)",
    ("RetinaNet-R50 320x320", "neck"): r"`neck`, the default .* to ([\d.]+) \(320x320\)",
    ("YOLOv8-s 640x640", "neck"): r"`neck`, the default .* ([\d.]+) \(YOLOv8-s\)",
    ("RetinaNet-R50 800x800", "backbone"): r"`backbone`, the last stage.* ([\d.]+) \(RetinaNet, 800x800\)",
    ("RetinaNet-R50 320x320", "backbone"): r"`backbone`, the last stage.* ([\d.]+) \(320x320\)",
    ("Faster R-CNN-R50 800x800", "roi"): r"`roi`, the default .* \| ([\d.]+) \|",
    ("Faster R-CNN-R50 800x800", "neck"): r"\| `neck` \| 4 to 64 \| ([\d.]+) \|",
}


@pytest.mark.parametrize(("detector", "layer"), COSTS)
def test_the_cost_of_ten_boxes_is_that_of_the_benchmark(detector: str, layer: str) -> None:
    """Within a hundredth of a forward pass, or a third of the cost."""
    row = rf"^\| {re.escape(detector)}, {layer} +\| boxcam, ONNX windows +\|[^|]*\|[^|]*\(([\d.]+)%\)"
    measured = re.search(row, text_of("docs/performance.md"), re.MULTILINE)
    said = re.search(COSTS[detector, layer], text_of("docs/choosing.md"))
    assert measured is not None
    assert said is not None
    assert float(said[1]) == pytest.approx(float(measured[1]) / 100, abs=0.01, rel=1 / 3)
