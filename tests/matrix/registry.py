"""The families of detectors that are proved: what the matrix of tests and docs/models.md are generated from.

**To add a family**, register it in the file of its framework under ``tests/matrix/families/``::

    FAMILIES.register("mmdet: RetinaNet R18")(
        Family({"neck": "windows", "backbone": Forms("windows", "whole")}, make, within=bridged)
    )

- The name is ``FRAMEWORK: FAMILY``; docs/models.md has a section for each framework.
- ``make(folder)`` builds the framework's own model (random weights that are alive: BatchNorm calibrated, heads scaled
  until there are boxes), writes what `boxcam.export` needs into ``folder``, and returns a `Subject`. It runs once for
  all tests of the family, in the context manager that ``within()`` gives. Files of families are imported when the tests
  are collected, so **frameworks are imported inside of functions only**.
- The layers are named with the form of their gradient by each engine, so that a form that is lost is noticed. An engine
  whose form is None is not exported, and ``note`` says why.
- ``heavy=True`` moves the family from ``make test`` to ``make matrix``; light is what takes under 20 seconds.

Nothing else has to be written: where the logits are in the framework's model, and in which layout, is found by their
values (`tests.matrix.counterpart`).

To try one, ``make models ARGS='-k "RetinaNet" -s'``, which also writes its figures into docs/models.md; or by hand::

    BOXCAM_MATRIX=.build/matrix python -m pytest tests/matrix -m "heavy or not heavy" -k "RetinaNet" -s
    python -m tests.matrix.table .build/matrix

**What cannot be exported** is registered too, with the words that export says: ``REFUSED.register("mmdet: …")(
Refused(why="ONNX has no …", error=UnsupportedOperatorError, message="…", make=make))``; a test holds export to it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from boxcam.bundle import Form, Rules
from boxcam.errors import BoxcamError
from boxcam.registry import Registry

SHAPE = (192, 256)
"""Height and width of the model's input, unless a family needs another."""

_IMAGES = Path(__file__).resolve().parents[2] / "examples" / "signs" / "images"
PICTURES = tuple(_IMAGES / f"{name}.jpg" for name in ("coffee", "houses", "saucer"))

Within = Callable[[], contextlib.AbstractContextManager[Any]]


@dataclass(frozen=True)
class Forms:
    """The form of a layer's gradient by each engine; None: this engine is not built for the family."""

    onnx: Form | None
    torchscript: Form | None

    @staticmethod
    def of(forms: Form | Forms) -> Forms:
        return forms if isinstance(forms, Forms) else Forms(forms, forms)


@dataclass(frozen=True)
class Found:
    """The framework's own detections on a canvas: boxes [K, 4] x1 y1 x2 y2 in canvas pixels, scores and labels [K].

    Tensors of torch, with their gradient, or arrays.
    """

    boxes: Any
    scores: Any
    labels: Any

    def arrays(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
        """Boxes, scores and labels."""
        all_of_them = (self.boxes, self.scores, self.labels)
        boxes, scores, labels = (np.asarray(x.detach() if isinstance(x, torch.Tensor) else x) for x in all_of_them)
        return boxes.reshape(-1, 4), scores, labels


@dataclass(frozen=True)
class Inputs:
    """The tensors that go into a module, where no module's outputs are the layer."""

    module: torch.nn.Module


Place = torch.nn.Module | Inputs
"""A module of the live model whose outputs (or inputs) hold a layer's tensors, perhaps among others."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A detector in its framework, and how it is exported.

    Attributes:
        arguments: of `boxcam.export`.
        detect: the framework's own detections on a canvas, a tensor as the deployed model's input: [1, 3, H, W].
        model: the live model, in evaluation mode; its parameters' ``requires_grad`` is turned off. None where there is
            no torch model, such as of a file: then gradients are compared with finite differences of the deployed
            graph in float64 (`tests.matrix.finite`), and ``layers`` and ``run`` are not needed.
        layers: where the layers are in the live model, one or several places each. ``image`` needs none.
        run: one forward pass of the live model on a canvas, as far as the logits at least. A model with proposals gets
            those of the deployed detector as a second argument, one [r, 4] for each tensor of the roi layer, so that
            both speak of the same: ``run(canvas, proposals)``. Its gradient must not stop, so no ``torch.no_grad``.
        differentiable: whether ``detect`` passes the gradient on. If not (mmdet detaches), with proposals, and without
            a live model, targets that are reported numbers are compared with finite differences.
        held: for finite differences: names of values in the deployed graph that do not move, besides proposals.
        options: keyword arguments of `boxcam.export`, besides output, layers and engine.
        canvas: a picture as the framework's own pipeline makes the model's input of it; by default as the bundle does.
        pictures: what is explained, and verified with.
        boxes: how many boxes of each picture are explained.
        pixels: how far a side of a box may be from the framework's own, in canvas pixels.
        score: how far a score may be.
    """

    arguments: Sequence[str | Path]
    detect: Callable[[torch.Tensor], Found]
    model: torch.nn.Module | None = None
    layers: Mapping[str, Place | Sequence[Place]] = field(default_factory=dict)
    run: Callable[..., Any] | None = None
    differentiable: bool = True
    held: Sequence[str] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    canvas: Callable[[Path], torch.Tensor] | None = None
    pictures: Sequence[Path] = PICTURES
    boxes: int = 8
    pixels: float = 0.5
    score: float = 1e-3


class Key(NamedTuple):
    """Which gradient: with respect to which layer, of which target, by which engine, and by which rules."""

    layer: str
    target: str
    engine: str
    rules: Rules = "plain"


class Cell(NamedTuple):
    """One gradient, and its form."""

    key: Key
    form: Form


@dataclass(frozen=True, eq=False)
class Family:
    """A family that works.

    Attributes:
        layers: the form of each layer's gradient; the names are those of the bundle's layers.
        targets: what else of a box is explained beside its logit (``score``, ``x1`` …): for each the layers and their
            forms. They are compared with the gradient of what `Subject.detect` gives, or with finite differences: see
            `Subject.differentiable`.
        guided: of which targets guided backpropagation to the image is compared too, and the forms. The other side is
            the live model, in which activations are masked on the way back: see `tests.matrix.guided`.
        make: see the module's docstring.
        within: in which everything of the family runs.
        heavy: whether it is in ``make matrix`` only.
        note: for the page, what has to be said of it.
    """

    layers: Mapping[str, Form | Forms]
    make: Callable[[Path], Subject]
    within: Within = contextlib.nullcontext
    heavy: bool = False
    note: str = ""
    targets: Mapping[str, Mapping[str, Form | Forms]] = field(default_factory=dict)
    guided: Mapping[str, Form] = field(default_factory=dict)

    def cells(self) -> list[Cell]:
        """All that is to be proved."""
        found = []
        for target, layers in {"logit": self.layers, **self.targets}.items():
            for layer, forms in layers.items():
                for engine, form in (("onnx", Forms.of(forms).onnx), ("torchscript", Forms.of(forms).torchscript)):
                    found += [Cell(Key(layer, target, engine), form)] if form else []
        found += [Cell(Key("image", target, "onnx", "guided"), form) for target, form in self.guided.items()]
        return found


@dataclass(frozen=True, eq=False)
class Refused:
    """A family that cannot be exported, or not in the way that ``make`` tries.

    Attributes:
        why: for the page: what is missing.
        make: gives the arguments and the options of `boxcam.export`.
        error: what it raises.
        message: a regular expression that is found in what it says.
        within, heavy: as a family's.
    """

    why: str
    make: Callable[[Path], tuple[Sequence[str | Path], Mapping[str, Any]]]
    error: type[BoxcamError]
    message: str
    within: Within = contextlib.nullcontext
    heavy: bool = False


FAMILIES: Registry[Family] = Registry("family")
REFUSED: Registry[Refused] = Registry("refused family")


def proposals_with_image(proposals: npt.NDArray[Any]) -> torch.Tensor:
    """Proposals [r, 4] as [r, 5], with the number of their image, 0, in front."""
    boxes = torch.from_numpy(np.array(proposals))
    return torch.cat([torch.zeros(len(boxes), 1, dtype=boxes.dtype), boxes], 1)
