"""What a TorchScript gradient gives: patches, and nothing for a box that depends on no feature; all else is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from boxcam.errors import EngineError
from boxcam.runtime.engines import TorchScriptEngine
from boxcam.runtime.sessions import Device
from boxcam.runtime.tensors import Tensors
from boxcam.types import Patch

TENSORS = Tensors({"a": np.zeros((1, 2, 9, 9), np.float32), "b": np.zeros((5, 3, 7, 7), np.float32)})
ORIGIN = np.zeros((3, 2), np.int64)


class Given(torch.nn.Module):
    """Gives the patches that it was made with."""

    def __init__(self, patches: list[torch.Tensor], places: torch.Tensor) -> None:
        super().__init__()
        self.patches: list[torch.Tensor] = patches
        self.places = places

    def forward(
        self, features: list[torch.Tensor], context: list[torch.Tensor], origin: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
        return self.patches, self.places, origin


PATCHES = [torch.ones(2, 3, 4), torch.empty(0), torch.full((3, 7, 7), 2.0)]
PLACES = torch.tensor([[0, 0, -1, 8], [0, 0, 0, 0], [1, 4, 0, 0]])


def run(folder: Path, patches: list[torch.Tensor], places: torch.Tensor) -> list[tuple[Patch, ...]]:
    torch.jit.script(Given(patches, places)).save(str(folder / "a.pt"))
    return TorchScriptEngine(folder / "a.pt", Device(threads=1)).patches(TENSORS, ["a", "b"], [], ORIGIN)


def test_patches_where_they_lie_and_none_where_nothing_depends(tmp_path: Path) -> None:
    (first,), second, (third,) = run(tmp_path, PATCHES, PLACES)
    assert second == ()
    assert (first.tensor, first.row, first.corner, first.uniform) == (0, 0, (-1, 8), None)
    assert (third.tensor, third.row, third.corner, third.uniform) == (1, 4, (0, 0), None)
    assert (first.gradient == np.ones((2, 3, 4), np.float32)).all()
    assert (third.gradient == np.full((3, 7, 7), 2, np.float32)).all()


def place(*values: int) -> torch.Tensor:
    return torch.tensor([[0, 0, 0, 0], [0, 0, 0, 0], [*values]])


@pytest.mark.parametrize(
    ("patches", "places", "said"),
    [
        ([*PATCHES[:2], torch.ones(3, 7)], PLACES, r"float32 \[3, 7\]"),
        ([*PATCHES[:2], torch.ones(3, 7, 7, dtype=torch.float64)], PLACES, "float64"),
        ([*PATCHES[:2], torch.ones(2, 7, 7)], PLACES, "a patch is of no feature map of the layer"),
        (PATCHES, place(1, 5, 0, 0), "a patch is of no feature map of the layer"),
        (PATCHES, place(1, -1, 0, 0), "a patch is of no feature map of the layer"),
        (PATCHES, place(-1, 0, 0, 0), "a patch is of no feature map of the layer"),
        (PATCHES, place(2, 0, 0, 0), "index out of range"),
        (PATCHES, PLACES[:, :3], "not enough values to unpack"),
        (PATCHES[:2], PLACES[:2], "the number of patches is 2, and that of boxes 3"),
        (PATCHES[:2], PLACES, "is longer than argument 1"),
    ],
)
def test_anything_else_is_refused(patches: list[Any], places: torch.Tensor, said: str, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=rf"a\.pt gives something else than patches: .*{said}.*\. Export the model"):
        run(tmp_path, patches, places)
