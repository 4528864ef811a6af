"""The gradients of a layer: what is built for each target and engine, how it is written, and how it is checked."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from boxcam.bundle import Form, Gradient, Rules
from boxcam.errors import BoxcamWarning, UnsupportedOperatorError
from boxcam.export.autodiff import gradient
from boxcam.export.autodiff.gradient import GradientGraph
from boxcam.export.graphs.query import Array
from boxcam.export.graphs.weights import WeightsFile
from boxcam.export.passes import check, straight_through
from boxcam.export.source import Progress
from boxcam.export.torchscript import score
from boxcam.export.torchscript.score import ScoreGraph
from boxcam.export.verify import onnx_gradient
from boxcam.export.verify.check import FAINT, Check, Derivative, Probe
from boxcam.runtime.engines import OnnxEngine, Patches, load_module
from boxcam.runtime.tensors import Tensors
from boxcam.targets import Target
from boxcam.types import ORIGIN

ENGINES = ("onnx", "torchscript")
CHOICES = ("auto", *ENGINES, "both")
"""Which gradients to build: ``auto`` is ONNX, and TorchScript where it can be (PyTorch is installed, and has the
operators)."""

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


@dataclass(frozen=True)
class Subject:
    """What of a box is explained, and at which layer.

    Attributes:
        layer: name of the layer.
        target: what is explained.
        ends: names of the tensors that the target is taken from.
        features: names of those of the layer's tensors that it depends on.
    """

    layer: str
    target: Target
    ends: tuple[str, ...]
    features: tuple[str, ...]

    @property
    def name(self) -> str:
        """What its checks are called."""
        return f"{self.layer} ({self.target.name})" if self.target.suffix else self.layer

    @property
    def title(self) -> str:
        """What is said of it while it is worked on."""
        return f"{self.layer} ({self.target.name})"


@dataclass(frozen=True, eq=False)
class LayerGradient:
    """The gradients of one target with respect to one layer.

    Attributes:
        subject: what they are of.
        by_onnx: the gradient graph by ``plain`` rules, and the ``guided`` one if there is one.
        by_torch: what the TorchScript module is made of.
        rounded: whether something between them is computed with quantized numbers.
    """

    subject: Subject
    by_onnx: Mapping[Rules, GradientGraph]
    by_torch: ScoreGraph | None
    rounded: bool

    @property
    def context(self) -> list[str]:
        """Values of the forward pass that are read in addition to the features."""
        names = [] if self.by_torch is None else list(self.by_torch.context)
        for graph in self.by_onnx.values():
            names += self._context(graph)
        return names

    @property
    def field(self) -> int | None:
        """How many cells across one target depends on, if these are a window."""
        if self.by_onnx:
            return self.by_onnx["plain"].field
        assert self.by_torch is not None
        reach = [part.reach for part in self.by_torch.parts if part.reach is not None]
        return max((2 * max(r) + 1 for r in reach), default=None) if self.by_torch.form == "windows" else None

    @property
    def checked(self) -> int:
        """How many gradients `check` looks at, each of which is a step."""
        return len(self.by_onnx) + (self.by_torch is not None)

    def described(self, file: str) -> Iterator[Gradient]:
        """What the manifest says of them.

        Args:
            file: of the layer's gradients, without its end, relative to the bundle.
        """
        target = self.subject.target.name
        for rules, graph in self.by_onnx.items():
            stem = file + self._suffix(rules)
            yield Gradient(
                engine="onnx",
                target=target,
                rules=rules,
                file=f"{stem}.onnx",
                form=graph.form,
                reason=self._reason(graph.reason),
                context=tuple(self._context(graph)),
                boxes_at_once=graph.boxes_at_once,
                means="" if graph.means is None else f"{stem}.means.onnx",
            )
        if self.by_torch is not None:
            yield Gradient(
                engine="torchscript",
                target=target,
                rules="plain",
                file=f"{file}{self._suffix()}.pt",
                form=self.by_torch.form,
                reason=self._reason(self.by_torch.reason),
                context=self.by_torch.context,
                boxes_at_once=_BOXES_AT_ONCE[self.by_torch.form],
            )

    def write(self, file: Path, weights: WeightsFile, example: Probe) -> None:
        """Write the files that `described` names.

        Args:
            file: of the layer's gradients, without its end.
            weights: where the weights go, those of the other graphs among them.
            example: of a run, by which the TorchScript module is traced.
        """
        for rules, graph in self.by_onnx.items():
            weights.save(graph.model, self._file(file, ".onnx", rules))
            if graph.means is not None:
                weights.save(graph.means, self._file(file, ".means.onnx", rules))
        if self.by_torch is not None:
            from boxcam.export.torchscript.module import gradient_module
            from boxcam.export.torchscript.saving import save

            given = {**example.found, ORIGIN: example.origin}
            save(gradient_module(self.by_torch, given), self._file(file, ".pt"), weights)

    def check(self, file: Path, detector: Detector, probe: Probe, progress: Progress) -> list[Check]:
        """Check what was written.

        Args:
            file: as for `write`.
            detector: what they were built of.
            probe: where to check them.
            progress: is told the steps.
        """
        self._warn_of_faint(probe)
        name, some, of = self.subject.name, self._some(probe), self._derivative(detector)
        checks: list[Check] = []
        found: dict[str, list[Patches]] = {}
        for rules in self.by_onnx:
            progress(f"verifying {self.subject.title} by onnx{' (guided)' if rules == 'guided' else ''}")
            more, patches = self._check_onnx(of, rules, file, some)
            checks += more
            if rules == "plain":
                found["onnx"] = patches
        if self.by_torch is not None:
            from boxcam.export.verify import torchscript_gradient

            progress(f"verifying {self.subject.title} by torchscript")
            module = load_module(self._file(file, ".pt"))
            checks += torchscript_gradient.gradients(of, self.by_torch, module, some)
            found["torchscript"] = torchscript_gradient.patches(module, self.by_torch, some)
        if len(found) == 2:
            checks.append(onnx_gradient.against(name, found["onnx"], found["torchscript"], self._sizes(some)))
        return checks

    def check_another_size(self, file: Path, detector: Detector, probe: Probe, progress: Progress) -> list[Check]:
        """Check the ONNX gradient in a run on an image of another size; the arguments are those of `check`."""
        progress(f"verifying {self.subject.title} by onnx at another size")
        of = self._derivative(detector, f"{self.subject.name}, another size")
        return self._check_onnx(of, "plain", file, self._some(probe))[0]

    def _check_onnx(self, of: Derivative, rules: Rules, file: Path, probe: Probe) -> tuple[list[Check], list[Patches]]:
        """Check an ONNX gradient; also gives its patches.

        Guided backpropagation is no derivative: that it is finite is all that its numbers can be held to.
        """
        graph, running = self.by_onnx[rules], OnnxEngine(self._file(file, ".onnx", rules))
        patches = self._patches(running, probe)
        if rules == "guided":
            checks = [onnx_gradient.finite(f"{of.name}: guided backpropagation", patches)]
        else:
            checks = onnx_gradient.differences(of, self._context(graph), running, probe)
        if graph.means is not None:
            means = self._patches(OnnxEngine(self._file(file, ".means.onnx", rules)), probe)
            checks.append(onnx_gradient.means(of.name, means, patches, self._sizes(probe)))
        return checks, patches

    def _patches(self, running: OnnxEngine, probe: Probe) -> list[Patches]:
        """What a gradient graph gives in a run."""
        return running.patches(Tensors(probe.found), self.subject.features, (), probe.origin)

    def _derivative(self, detector: Detector, name: str = "") -> Derivative:
        subject = self.subject
        return Derivative(name or subject.name, detector.smooth, subject.ends, subject.features)

    def _context(self, graph: GradientGraph) -> list[str]:
        """What a gradient graph reads in addition to the features."""
        return [name for name in graph.inputs if name not in self.subject.features]

    def _sizes(self, probe: Probe) -> dict[int, tuple[int, ...]]:
        """Height and width of each of the layer's tensors."""
        return {number: probe.found[name].shape[2:] for number, name in enumerate(self.subject.features)}

    def _some(self, probe: Probe) -> Probe:
        """As many elements as are checked: whole maps take their time."""
        whole = "whole" in [graph.form for graph in (self.by_torch, *self.by_onnx.values()) if graph is not None]
        return probe.first(max(_CHECKED_BOXES // 4, len(self.subject.ends))) if whole else probe

    def _warn_of_faint(self, probe: Probe) -> None:
        """Say so if the feature maps are as good as constant: maps of them show next to nothing."""
        arrays = [probe.found[name] for name in self.subject.features]
        spread = max((float(array.std()) for array in arrays if array.size > 1), default=1.0)
        if spread < FAINT and self.subject.target.to_logit:
            warnings.warn(
                f"layer {self.subject.layer!r} is almost constant on the sample image (standard deviation"
                f" {spread:.0e}), as in an untrained model. Check that these are the trained weights.",
                BoxcamWarning,
                stacklevel=2,
            )

    def _file(self, file: Path, end: str, rules: Rules = "plain") -> Path:
        return file.with_name(f"{file.name}{self._suffix(rules)}{end}")

    def _suffix(self, rules: Rules = "plain") -> str:
        """What tells its files from those of the layer's other gradients."""
        return self.subject.target.suffix + ("" if rules == "plain" else f".{rules}")

    def _reason(self, form: str) -> str:
        """Why a gradient has its form, and what else has to be said of it."""
        rounding = ["the model is quantized: straight-through, as if without rounding"] if self.rounded else []
        return "; ".join([*([form] if form else []), *rounding])


def build(detector: Detector, subject: Subject, engine: str, guided: bool) -> LayerGradient:
    """Differentiate a target by a layer.

    Args:
        detector: its graphs.
        subject: what of a box, and at which layer.
        engine: one of `CHOICES`.
        guided: whether guided backpropagation is wanted too.

    Raises:
        UnsupportedOperatorError: an operator in between cannot be differentiated by an engine that was asked for.
    """
    layer, target, ends, features = subject.layer, subject.target, subject.ends, subject.features
    check.check_path(detector.base, ends, features)
    rounding = straight_through.rounded(detector.base, ends, features)
    plain = target.to_logit and not guided  # TorchScript gradients are of class logits and feature maps only
    if engine == "torchscript" and (rounding or not plain):
        quantized = f"the model is quantized ({rounding[0]}), and"
        what = quantized if rounding else f"for layer {layer!r} and target {target.name!r}"
        raise UnsupportedOperatorError(f'{what} there is only the ONNX gradient. Use engine="onnx".')
    by_onnx: dict[Rules, GradientGraph] = {}
    if engine != "torchscript":
        by_onnx["plain"] = gradient.build(detector.smooth, ends, features)
        if guided:
            by_onnx["guided"] = gradient.build(detector.smooth, ends, features, guided=True)
    by_torch = _by_torch(detector, subject, engine) if engine != "onnx" and plain and not rounding else None
    return LayerGradient(subject, by_onnx, by_torch, bool(rounding))


def _by_torch(detector: Detector, subject: Subject, engine: str) -> ScoreGraph | None:
    """The score graph for TorchScript; none where it need not be made and cannot: without PyTorch, or, which is a
    warning, where PyTorch lacks an operator."""
    if engine == "auto" and importlib.util.find_spec("torch") is None:
        return None  # nothing is missing: explaining needs one engine, and it is ONNX's by default
    from boxcam.export.torchscript import module as torchscript

    try:
        made = score.build(detector.smooth, subject.ends, subject.features, detector.feeds)
        torchscript.check(made)
    except UnsupportedOperatorError as error:
        if engine == "torchscript":
            raise
        if engine == "both":
            raise UnsupportedOperatorError(f'{error} Or export without PyTorch gradients: engine="onnx".') from error
        warnings.warn(
            f"layer {subject.layer!r} has no TorchScript gradient, only the ONNX one: {error}",
            BoxcamWarning,
            stacklevel=2,
        )
        return None
    return made
