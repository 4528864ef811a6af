"""CenterFace's maps have no names that tell: they are refused with what was seen, and the way on works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from boxcam.errors import SourceError
from tests.conventions.files import FLOAT, HEIGHT, WIDTH, Layout, Levels, Truth
from tests.conventions.reading import expected, outputs, read, same
from tests.messages import check_message

ROWS, COLUMNS = HEIGHT // 4, WIDTH // 4


def center_face(net: Levels) -> dict[str, int]:
    """Heat, log sizes, offsets (y first in both) and points, as Star-Clouds/CenterFace exports them."""
    made = {}
    for name, kind, channels in (("537", "cls", 1), ("538", "box", 2), ("539", "reg", 2), ("540", "kps", 10)):
        spread = 0.4 if kind == "box" else 2.0
        net.node("Sigmoid" if kind == "cls" else "Identity", [net.head(kind, channels, 0, spread, 1.0)], name=name)
        made[name] = FLOAT
    return made


def decode(op: Any, given: Any) -> Any:
    """prj-python/centerface.py: ``decode``."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    cells = np.stack([y, x])[None].astype(np.float32)
    sizes = op.Mul(op.Exp(given["538"]), np.float32(4))
    low = op.Sub(
        op.Mul(op.Add(op.Add(given["539"], cells), np.float32(0.5)), np.float32(4)), op.Div(sizes, np.float32(2))
    )
    rows = op.Reshape(op.Concat(low, op.Add(low, sizes), axis=1), np.array([1, 4, -1]))
    boxes = op.Gather(op.Transpose(rows, perm=[0, 2, 1]), np.array([1, 0, 3, 2]), axis=2)
    return boxes, op.Reshape(given["537"], np.array([1, -1, 1]))


def truth(given: dict[str, np.ndarray]) -> Truth:
    heat, scale, offset, _ = (array[0] for array in given.values())
    boxes = []
    for row, column in np.ndindex(ROWS, COLUMNS):
        s0, s1 = np.exp(scale[:, row, column].astype(np.float64)) * 4
        o0, o1 = offset[:, row, column]
        x1, y1 = (column + o1 + 0.5) * 4 - s1 / 2, (row + o0 + 0.5) * 4 - s0 / 2
        boxes.append([x1, y1, x1 + s1, y1 + s0])
    return Truth(np.array(boxes), heat.reshape(-1, 1))


def test_it_is_refused_by_what_was_seen_and_decoded_as_advised(tmp_path: Path) -> None:
    net = Levels(1, (4,))
    path = tmp_path / "m.onnx"
    onnx.save(net.proto(center_face(net)), path)
    for named in ({}, {"scores": "537"}, {"scores": "537", "boxes": "538"}):
        with pytest.raises(SourceError, match=r"what a detector's head computes, .* with decode=") as caught:
            read(path, **named)
        check_message(str(caught.value))
        for number, channels in (("537", 1), ("538", 2), ("539", 2), ("540", 10)):
            assert f"{number} float32 [1, {channels}, {ROWS}, {COLUMNS}]" in str(caught.value)
    found = read(path, decode=decode)
    layout = Layout("", center_face, lambda given, classes: truth(dict(given)), iou=0.5)
    assert len(found.found[1]) > 3
    same(found.found, expected(layout, truth(outputs(path, found.image))))
