"""The gradients of a layer: what is built for each target and engine, and how each is checked."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from boxcam.bundle import Form, Gradient, Rules
from boxcam.errors import BoxcamWarning, UnsupportedOperatorError
from boxcam.export.autodiff import gradient
from boxcam.export.autodiff.gradient import GradientGraph
from boxcam.export.graphs.query import Array
from boxcam.export.passes import check, straight_through
from boxcam.export.source import Progress
from boxcam.export.torchscript import score
from boxcam.export.torchscript.score import ScoreGraph
from boxcam.export.verify import onnx_gradient
from boxcam.export.verify.check import FAINT, Check, Run
from boxcam.runtime.engines import OnnxEngine, Patches
from boxcam.runtime.tensors import Tensors
from boxcam.types import ORIGIN

ENGINES = ("onnx", "torchscript")
CHOICES = ("auto", *ENGINES, "both")
"""Which gradients to build: ``auto`` is ONNX, and TorchScript where it can be."""

_CHECKED_BOXES = 12
_BOXES_AT_ONCE: dict[Form, int] = {"windows": 32, "rows": 64, "whole": 8}  # of a TorchScript module


@dataclass(frozen=True, eq=False)
class Detector:
    """The graphs that gradients are made of.

    Attributes:
        base: the folded graph.
        smooth: the same without rounding, which is what gradients are of; it may get nodes that compute shapes.
        feeds: an input.
    """

    base: ir.Model
    smooth: ir.Model
    feeds: Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class LayerGradient:
    """The gradients of one target with respect to one layer.

    Attributes:
        layer, target: their names.
        ends: names of the tensors that the target is taken from.
        features: names of the layer's tensors.
        by_onnx: the gradient graph by ``plain`` rules, and the ``guided`` one if there is one.
        by_torch: what the TorchScript module is made of.
        rounded: whether something between them is computed with quantized numbers.
    """

    layer: str
    target: str
    ends: tuple[str, ...]
    features: tuple[str, ...]
    by_onnx: Mapping[Rules, GradientGraph]
    by_torch: ScoreGraph | None
    rounded: bool

    @property
    def context(self) -> list[str]:
        """Values of the forward pass that are read beside the features."""
        names = [] if self.by_torch is None else list(self.by_torch.context)
        for graph in self.by_onnx.values():
            names += [name for name in graph.inputs if name not in self.features]
        return names

    @property
    def field(self) -> int | None:
        """How many cells across one target depends on, if these are a window."""
        if self.by_onnx:
            return self.by_onnx["plain"].field
        assert self.by_torch is not None
        reach = [part.reach for part in self.by_torch.parts if part.reach is not None]
        return max((2 * max(r) + 1 for r in reach), default=None) if self.by_torch.form == "windows" else None

    def described(self, file: str) -> list[Gradient]:
        """What the manifest says of them.

        Args:
            file: of the layer's gradients, without its end.
        """
        result = []
        for rules, graph in self.by_onnx.items():
            stem = self._stem(file, rules)
            context = tuple(n for n in graph.inputs if n not in self.features)
            means = "" if graph.means is None else f"{stem}.means.onnx"
            reason = self._reason(graph.reason)
            result.append(
                Gradient(
                    "onnx", self.target, rules, f"{stem}.onnx", graph.form, reason, context, graph.boxes_at_once, means
                )
            )
        if self.by_torch is not None:
            made, stem = self.by_torch, self._stem(file)
            result.append(
                Gradient(
                    "torchscript", self.target, "plain", f"{stem}.pt", made.form, self._reason(made.reason),
                    made.context, _BOXES_AT_ONCE[made.form],
                )
            )  # fmt: skip
        return result

    def write(
        self, folder: Path, file: str, detector: Detector, run: Run, origin: Array, progress: Progress
    ) -> list[Check]:
        """Write the files, and check them.

        Args:
            folder: the bundle.
            file: as for `described`.
            detector: what they were built of.
            run: where to check them.
            origin: int64 [K, D], at which numbers.
            progress: is told the steps.
        """
        name, some = self._name, self._some(origin)
        shapes = {i: run.found[n].shape[2:] for i, n in enumerate(self.features)}
        checks: list[Check] = []
        patches: dict[str, list[Patches]] = {}
        self._warn_of_faint(run)
        for rules, graph in self.by_onnx.items():
            progress(f"verifying {name} (onnx{', guided' if rules == 'guided' else ''})")
            stem = self._stem(file, rules)
            ir.save(graph.model, folder / f"{stem}.onnx")
            running = OnnxEngine(folder / f"{stem}.onnx")
            found = running.patches(Tensors(run.found), self.features, (), some)
            if rules == "guided":
                checks.append(onnx_gradient.finite(f"{name}: guided backpropagation", found))
            else:
                patches["onnx"] = found
                checks += onnx_gradient.differences(
                    name, graph, running, detector.smooth, self.features, self.ends, run.found, some, run.feeds
                )
            if graph.means is not None:
                ir.save(graph.means, folder / f"{stem}.means.onnx")
                running = OnnxEngine(folder / f"{stem}.means.onnx")
                means = running.patches(Tensors(run.found), self.features, (), some)
                checks.append(onnx_gradient.means(name, means, found, shapes))
        if self.by_torch is not None:
            from boxcam.export.torchscript import module as torchscript
            from boxcam.export.verify import torchscript_gradient

            progress(f"verifying {name} (torchscript)")
            path = folder / f"{self._stem(file)}.pt"
            torchscript.gradient_module(self.by_torch, {**run.found, ORIGIN: origin}).save(str(path))
            module = torchscript.load(path)
            checks += torchscript_gradient.gradients(
                name, self.by_torch, module, detector.smooth, self.ends, run.found, some, run.feeds
            )
            patches["torchscript"] = torchscript_gradient.patches(module, self.by_torch, run.found, some)
        if len(patches) == 2:
            checks.append(onnx_gradient.against(name, patches["onnx"], patches["torchscript"], shapes))
        return checks

    def check_again(self, folder: Path, file: str, detector: Detector, run: Run, origin: Array) -> list[Check]:
        """Check the ONNX gradient in another run, of an image of another size; the arguments are those of `write`."""
        stem, some = self._stem(file), self._some(origin)
        running = OnnxEngine(folder / f"{stem}.onnx")
        name, graph = f"{self._name}, another size", self.by_onnx["plain"]
        checks = onnx_gradient.differences(
            name, graph, running, detector.smooth, self.features, self.ends, run.found, some, run.feeds
        )
        if graph.means is not None:
            shapes = {i: run.found[n].shape[2:] for i, n in enumerate(self.features)}
            whole, means = (
                engine.patches(Tensors(run.found), self.features, (), some)
                for engine in (running, OnnxEngine(folder / f"{stem}.means.onnx"))
            )
            checks.append(onnx_gradient.means(name, means, whole, shapes))
        return checks

    @property
    def _name(self) -> str:
        """What its checks are called."""
        return self.layer if self.target == "logit" else f"{self.layer} ({self.target})"

    def _some(self, origin: Array) -> Array:
        """As many of some numbers as are checked: whole maps take their time."""
        whole = "whole" in [graph.form for graph in (self.by_torch, *self.by_onnx.values()) if graph is not None]
        return origin[: max(_CHECKED_BOXES // 4, len(self.ends))] if whole else origin

    def _warn_of_faint(self, run: Run) -> None:
        """Say so if the feature maps are as good as constant: maps of them show next to nothing."""
        spread = max((float(run.found[name].std()) for name in self.features if run.found[name].size > 1), default=1.0)
        if spread < FAINT and self.target == "logit":
            warnings.warn(
                f"layer {self.layer!r} hardly varies on the sample image (by {spread:.0e}), as that of a model without"
                " training does. Are these the trained weights?",
                BoxcamWarning,
                stacklevel=2,
            )

    def _stem(self, file: str, rules: Rules = "plain") -> str:
        parts = [file, *([] if self.target == "logit" else [self.target]), *([] if rules == "plain" else [rules])]
        return ".".join(parts)

    def _reason(self, form: str) -> str:
        """Why a gradient has its form, and what else has to be said of it."""
        rounding = ["the model is quantized: straight-through, as if it did not round"] if self.rounded else []
        return "; ".join([*([form] if form else []), *rounding])


def build(
    detector: Detector, layer: str, target: str, ends: Sequence[str], features: Sequence[str], engine: str, guided: bool
) -> LayerGradient:
    """Differentiate a target by a layer.

    Args:
        detector: its graphs.
        layer, target: their names.
        ends, features: see `LayerGradient`.
        engine: one of `CHOICES`.
        guided: whether guided backpropagation is wanted too.

    Raises:
        UnsupportedOperatorError: an operator in between cannot be differentiated by an engine that was asked for.
    """
    check.check_path(detector.base, ends, features)
    rounding = straight_through.rounded(detector.base, ends, features)
    plain = target == "logit" and not guided  # TorchScript gradients are of class logits and feature maps only
    if engine == "torchscript" and (rounding or not plain):
        what = f"the model is quantized ({rounding[0]}), and" if rounding else f"by {layer!r} and of {target!r}"
        raise UnsupportedOperatorError(f"{what} only the ONNX gradient is made. Use --engine onnx.")
    by_onnx: dict[Rules, GradientGraph] = {}
    if engine != "torchscript":
        by_onnx["plain"] = gradient.build(detector.smooth, ends, features)
        if guided:
            by_onnx["guided"] = gradient.build(detector.smooth, ends, features, guided=True)
    by_torch = None
    if engine != "onnx" and plain and not rounding:
        by_torch = _by_torch(detector, layer, ends, features, engine)
    return LayerGradient(layer, target, tuple(ends), tuple(features), by_onnx, by_torch, bool(rounding))


def _by_torch(
    detector: Detector, layer: str, ends: Sequence[str], features: Sequence[str], engine: str
) -> ScoreGraph | None:
    """The score graph for TorchScript; none, with a warning, where it cannot be made and need not."""
    from boxcam.export.torchscript import module as torchscript

    try:
        made = score.build(detector.smooth, ends, features, detector.feeds)
        torchscript.check(made)
    except UnsupportedOperatorError as error:
        if engine == "torchscript":
            raise
        if engine == "both":
            raise UnsupportedOperatorError(f"{error} Or do without torch, with --engine onnx.") from error
        warnings.warn(
            f"layer {layer!r} gets no TorchScript gradient, only the ONNX one: {error}", BoxcamWarning, stacklevel=2
        )
        return None
    return made
