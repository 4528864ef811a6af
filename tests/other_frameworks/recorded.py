"""Models of frameworks that are too large for CI, as their scripts recorded them: see examples/other_frameworks.

``examples/other_frameworks/fixture.py`` says what the files hold.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.matrix.registry import Family, Forms, Subject

Array = npt.NDArray[Any]
FOLDER = Path(__file__).parent / "fixtures"
PICTURE = FOLDER / "picture.png"
_SCRIPTS = Path(__file__).resolve().parents[2] / "examples" / "other_frameworks"


@dataclass(frozen=True, eq=False)
class Recorded:
    """An ONNX file, and what the live model found.

    Attributes:
        file: the ONNX file.
        family: the model's name in docs/models.md.
        made_by: names and versions of what made it.
        options: of `boxcam.export`.
        forms: of the gradients of its layers.
        boxes, scores, labels: of the live model; boxes [K, 4] in pixels of the picture, cut off at its edges.
        gradients: by layer and box, of each of the layer's tensors.
    """

    file: Path
    family: str
    made_by: str
    options: Mapping[str, Any]
    forms: Mapping[str, Any]
    boxes: Array
    scores: Array
    labels: Array
    gradients: Mapping[str, Mapping[int, Sequence[Array]]]


def read(file: Path) -> Recorded:
    """The fixture of an ONNX file."""
    about = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
    with np.load(file.with_suffix(".npz")) as arrays:
        gradients: dict[str, dict[int, list[Array]]] = {layer: {} for layer in about["layers"]}
        for name in arrays.files:
            layer, _, rest = name.rpartition("/")[0].rpartition("/")
            if layer:
                gradients[layer].setdefault(int(rest), []).append(arrays[name])
        truth = (arrays["boxes"], arrays["scores"], arrays["labels"])
    return Recorded(
        file, about["family"], about["made_by"], about["options"], about["layers"], *truth, gradients=gradients
    )


def comparison() -> ModuleType:
    """What the scripts themselves look at bundles with."""
    spec = importlib.util.spec_from_file_location("other_frameworks_comparison", _SCRIPTS / "comparison.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def _not_live(folder: Path) -> Subject:
    raise NotImplementedError("a recorded model is not made anew")


FILES = sorted(FOLDER.glob("*.onnx"))


def families() -> dict[str, Family]:
    """The recorded models as families of docs/models.md, which `tests.matrix.table` lists beside the live ones."""
    found: dict[str, Family] = {}
    for file in FILES:
        about = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
        forms = {layer: Forms(form, None) for layer, form in about["layers"].items()}
        found[about["family"]] = Family(forms, _not_live)
    return dict(sorted(found.items(), key=lambda item: item[0].partition(": ")[0]))
