"""The gradients of a family's bundle against its framework's own, or against finite differences."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.matrix import finite
from tests.matrix.counterpart import Array, Watch, cut_at, plain_batch_norm, same_or_part
from tests.matrix.deployed import Deployed, Explained, whole
from tests.matrix.detections import pairs
from tests.matrix.registry import Family, Place, Subject

SIDES = ("x1", "y1", "x2", "y2")
LIMIT = 1e-4
NOISY_LIMIT = 1e-3
"""Where the framework's own float32 gradient changes by more than `LIMIT` when each module's output is rounded anew."""


@dataclass(frozen=True)
class Scene:
    """A picture, the boxes of it that are explained, and what the deployed detector computed of it.

    Attributes:
        boxes: numbers of detections; empty where logits are explained that need not have made a box.
        target: what of them is explained.
        ends: for each of them the number of a tensor that its target comes from, and the position there.
        values: these tensors.
        proposals: of a model that has some, one array for each tensor of the roi layer.
    """

    picture: Path
    image: torch.Tensor
    boxes: list[int]
    target: str
    ends: list[tuple[int, list[int]]]
    values: list[Array]
    proposals: list[Array]

    def some(self) -> tuple[list[tuple[int, int]], list[Array], list[Array], list[int]]:
        """With the proposals that the boxes come from, and no others.

        Ends, with flat positions; values; proposals; and which of all proposals these are.
        """
        ends, values, proposals, rows = [(n, list(place)) for n, place in self.ends], self.values, self.proposals, [0]
        if proposals:
            axes = [array.shape.index(len(proposals[0])) for array in values]
            rows = sorted({place[axes[number]] for number, place in ends})
            values = [np.take(array, rows, axis) for array, axis in zip(values, axes, strict=True)]
            proposals = [array[rows] for array in proposals]
            for number, place in ends:
                place[axes[number]] = rows.index(place[axes[number]])
        flat = [(number, int(np.ravel_multi_index(place, values[number].shape))) for number, place in ends]
        return flat, values, proposals, rows


Gradients = list[list[Array]]
"""For each box one array for each tensor of the layer, [r, C, H, W]."""


@dataclass(frozen=True)
class Line:
    """A direction through the features, one array for each tensor, and a target's derivative along it."""

    way: list[Array]
    derivative: float


@dataclass(frozen=True)
class Agreement:
    """How well the gradients of a layer agree.

    Attributes:
        error: the largest difference, relative to the gradient's largest value.
        limit: the largest error that passes.
        noise: the framework's own, where it was measured.
        boxes: how many boxes depend on the layer; of others both gradients were zero.
        tensors: on how many of the layer's tensors there was a gradient.
    """

    error: float
    limit: float
    noise: float | None
    boxes: int
    tensors: int


class Case:
    """A family at work: its framework's model and its bundle."""

    def __init__(self, name: str, family: Family, subject: Subject, bundle: Path) -> None:
        self.name, self.family, self.subject, self.deployed = name, family, subject, Deployed(bundle)
        if subject.model is not None:
            subject.model.requires_grad_(False)
        self._scenes: dict[tuple[Path, str], Scene] = {}
        self._expected: dict[tuple[Path, str, str], Gradients] = {}
        self._measured: dict[tuple[Path, str, str], list[list[Line]]] = {}

    def canvas(self, picture: Path) -> torch.Tensor:
        return (self.subject.canvas or self.deployed.canvas)(picture)

    def scene(self, picture: Path, target: str = "logit") -> Scene:
        """A picture with as many of its boxes as the subject says, from the best to the worst."""
        key = picture, target
        if key not in self._scenes:
            origin = self.deployed.origin(picture, target)
            last = len(origin) - 1
            boxes = sorted({round(k) for k in np.linspace(0, last, min(self.subject.boxes, last + 1))})
            self._scenes[key] = self.scene_at(picture, [origin[k] for k in boxes], boxes, target)
        return self._scenes[key]

    def scene_at(
        self, picture: Path, origin: Sequence[Sequence[int]], boxes: Sequence[int] = (), target: str = "logit"
    ) -> Scene:
        """A picture, with targets that need not be of a box."""
        image = self.canvas(picture)
        values = self.deployed.values(image, self.deployed.ends(target))
        proposals = self.deployed.values(image, self.deployed.rois())
        ends = [(number, list(place)[: values[number].ndim]) for number, *place in origin]
        return Scene(picture, image, list(boxes), target, ends, values, proposals)

    def expected(self, scene: Scene, layer: str, features: Sequence[Array]) -> Gradients:
        """The framework's own gradients on a picture, computed once for all engines."""
        key = (scene.picture, scene.target, layer)
        if key not in self._expected:
            self._expected[key] = self.gradients(scene, layer, features)
        return self._expected[key]

    def gradients(self, scene: Scene, layer: str, features: Sequence[Array]) -> Gradients:
        """The framework's own gradients, by autograd on its live model.

        Raises:
            AssertionError: the framework's model has no such tensors.
        """
        of = self._logits if scene.target == "logit" else self._reported
        with self._leaves(scene, layer) as (image, leaves):
            targets = of(scene, image)
            places = [self._leaf(layer, feature, leaves) for feature in features]
            gradients = []
            for target in targets:
                found = _gradient(target, [leaf for leaf, _ in places])
                gradients.append(
                    [
                        np.zeros(index.shape, np.float32) if gradient is None else gradient.numpy().ravel()[index]
                        for gradient, (_, index) in zip(found, places, strict=True)
                    ]
                )
        return gradients

    def _logits(self, scene: Scene, image: torch.Tensor) -> list[torch.Tensor]:
        """The framework's own logits at the ends of a scene."""
        ends, values, proposals, _ = scene.some()
        used = sorted({number for number, _ in ends})
        positions = [np.array([at for n, at in ends if n == number], np.int64) for number in used]
        assert self.subject.run is not None, f"{self.name}: a live model, and no way to run it"
        with Watch([values[n] for n in used], positions) as watch:
            self.subject.run(image, *([proposals] if proposals else []))
        lost = [self.deployed.ends()[n] for i, n in enumerate(used) if i not in watch.taken]
        assert not lost, f"{self.name}: the framework's model computes nothing like the deployed {lost}"
        taken = {n: iter(watch.taken[i]) for i, n in enumerate(used)}
        return [next(taken[number]) for number, _ in ends]

    def _reported(self, scene: Scene, image: torch.Tensor) -> list[torch.Tensor]:
        """The scores, or a side, of the framework's own detections."""
        found = self.subject.detect(image)
        assert found.scores.requires_grad, f"{self.name}: the framework's detections have lost their gradient"
        theirs = {pair.mine: pair.theirs for pair in pairs(self, scene.picture, found)}
        if scene.target == "score":
            return [found.scores[theirs[k]] for k in scene.boxes]
        return [found.boxes[theirs[k], SIDES.index(scene.target)] for k in scene.boxes]

    @contextlib.contextmanager
    def _leaves(self, scene: Scene, layer: str) -> Iterator[tuple[torch.Tensor, list[torch.Tensor]]]:
        """The image to run the live model on, and the tensors of the layer that it then has."""
        assert self.subject.model is not None, f"{self.name}: no live model"
        with plain_batch_norm(self.subject.model):
            if layer == "image":
                leaf = scene.image.clone().requires_grad_(True)
                yield leaf.clone(), [leaf]
                return
            places = self.subject.layers[layer]
            several: Sequence[Place] = places if isinstance(places, (list, tuple)) else [places]  # type: ignore[list-item]
            with cut_at(several) as leaves:
                yield scene.image, leaves

    def _leaf(self, layer: str, feature: Array, leaves: Sequence[torch.Tensor]) -> tuple[torch.Tensor, Array]:
        for leaf in leaves:
            index = same_or_part(feature, leaf.detach().numpy())
            if index is not None:
                return leaf, index
        shapes = [tuple(leaf.shape) for leaf in leaves]
        raise AssertionError(
            f"{self.name}: none of the tensors of {layer} in the framework's model, {shapes}, is the deployed one of"
            f" {feature.shape}"
        )

    def compare(self, layer: str, engine: str, target: str = "logit") -> Agreement:
        """The bundle's gradients against the framework's own, or against finite differences.

        Raises:
            AssertionError: a gradient vanishes, or the framework's model has no such tensors.
        """
        errors, tensors = [], set()
        for picture in self.subject.pictures:
            scene = self.scene(picture, target)
            if not scene.boxes:
                continue
            explained = self._explained(scene, layer, engine)
            rows = self._rows(scene, explained, target)
            features = [array[rows] for array in explained.features]
            found = [
                [whole(p, array.shape, rows) for p, array in zip(pieces, features, strict=True)]
                for pieces in explained.boxes
            ]
            tensors |= {i for box in found for i, array in enumerate(box) if array.any()}
            if self.by_differences(target):
                errors += self._against_differences(scene, layer, explained.features, rows, found)
            else:
                errors += _apart(found, self.expected(scene, layer, features))
        error = float(np.max(errors, initial=0.0))  # unlike max(), keeps NaN
        noise = None if error <= LIMIT or self.by_differences(target) else self.noise(layer, engine, target)
        limit = NOISY_LIMIT if noise is not None and noise > LIMIT else LIMIT
        return Agreement(error, limit, noise, len(errors), len(tensors))

    def by_differences(self, target: str) -> bool:
        """Whether gradients are compared with finite differences, and not with a framework's autograd.

        A framework's own boxes come from its own proposals, which are not quite the deployed ones.
        """
        passes = self.subject.differentiable and not self.deployed.rois()
        return self.subject.model is None or (target != "logit" and not passes)

    def _explained(self, scene: Scene, layer: str, engine: str) -> Explained:
        prediction = self.deployed.predict(scene.picture, layer, engine, scene.target)
        return self.deployed.explain(prediction, layer, scene.boxes, engine, scene.target)

    def _rows(self, scene: Scene, explained: Explained, target: str) -> list[int]:
        """Which rows of a layer's tensors count: of proposals those that the boxes come from."""
        if not scene.proposals or len(explained.features[0]) == 1:
            return [0]
        if self.by_differences(target):
            return sorted({patch.row for box in explained.boxes for pieces in box for patch in pieces})
        return scene.some()[3]

    def _against_differences(
        self, scene: Scene, layer: str, features: Sequence[Array], rows: Sequence[int], found: Gradients
    ) -> list[float]:
        """How far derivatives along two directions are from the gradient's, relative to its length.

        For each box that depends on the layer.
        """
        key = (scene.picture, scene.target, layer)
        if key not in self._measured:
            self._measured[key] = self._lines(scene, layer, features, rows, found)
        errors = []
        for box, lines in zip(found, self._measured[key], strict=True):
            own = [sum(float((g * w).sum()) for g, w in zip(box, line.way, strict=True)) for line in lines]
            apart = [abs(a - line.derivative) for a, line in zip(own, lines, strict=True)]
            if any(apart) or any(own):
                errors.append(float(np.max(apart)) / max(abs(lines[0].derivative), 1e-6))
        return errors

    def _lines(
        self, scene: Scene, layer: str, features: Sequence[Array], rows: Sequence[int], found: Gradients
    ) -> list[list[Line]]:
        """Along each box's gradient and along a direction with random signs: what the target changes by."""
        names = self.deployed.tensors(layer)
        held = [self.deployed.input, *self.deployed.rois(), *self.subject.held]
        given = dict(zip(held, self.deployed.values(scene.image, held), strict=True))
        given.update(zip(names, features, strict=True))
        run = finite.Differences(self.deployed.graph, given, self.deployed.ends(scene.target))
        result = []
        for k, (gradient, (number, place)) in enumerate(zip(found, scene.ends, strict=True)):
            lines, rate = [], finite.length(gradient)
            for way in finite.directions(gradient, seed=k):
                moved = {name: np.zeros(feature.shape) for name, feature in zip(names, features, strict=True)}
                for name, array in zip(names, way, strict=True):
                    moved[name][list(rows)] = array
                derivative = run.along(moved, rate)[number][tuple(place)]
                lines.append(Line(way, float(derivative)))
            result.append(lines)
        return result

    def noise(self, layer: str, engine: str, target: str = "logit") -> float:
        """How much the framework's own gradients change when the output of each of its modules is rounded anew.

        The largest difference over the pictures and three runs, relative to the gradient's largest value; see
        `rounded_anew`.
        """
        assert self.subject.model is not None
        worst = 0.0
        for picture in self.subject.pictures:
            scene = self.scene(picture, target)
            if not scene.boxes:
                continue
            explained = self._explained(scene, layer, engine)
            features = [array[self._rows(scene, explained, target)] for array in explained.features]
            for seed in range(3):
                with rounded_anew(self.subject.model, seed):
                    noisy = self.gradients(scene, layer, features)
                worst = max([worst, *_apart(noisy, self.expected(scene, layer, features))])
        return worst


@contextlib.contextmanager
def rounded_anew(model: torch.nn.Module, seed: int) -> Iterator[None]:
    """Within the block each float32 output of a module without children is off by up to a unit in its last place.

    Each number is multiplied by 1 + 2^-23 or 1 - 2^-23, at random.
    """
    generator = torch.Generator().manual_seed(seed)

    def nudge(_: torch.nn.Module, inputs: Any, output: Any) -> Any:
        if not isinstance(output, torch.Tensor) or output.dtype != torch.float32:
            return output
        sign = torch.randint(0, 2, output.shape, generator=generator) * 2 - 1
        return output * (1 + sign * 2.0**-23)

    with contextlib.ExitStack() as stack:
        for module in model.modules():
            if not list(module.children()):
                stack.callback(module.register_forward_hook(nudge).remove)
        yield


def _gradient(target: torch.Tensor, leaves: Sequence[torch.Tensor]) -> Sequence[torch.Tensor | None]:
    """With respect to each of the leaves; None where the target does not depend on it."""
    if not target.requires_grad:
        return [None] * len(leaves)
    found: Sequence[torch.Tensor | None] = torch.autograd.grad(target, leaves, retain_graph=True, allow_unused=True)
    return found


def _apart(found: Gradients, expected: Gradients) -> list[float]:
    """The largest difference of two gradients, relative to the largest value of the expected one.

    For each box that depends on the layer; for another one both have to be zero.
    """
    errors = []
    for one, other in zip(found, expected, strict=True):
        scale = max(float(np.abs(array).max()) for array in other)
        if not any(array.any() for array in [*one, *other]):
            continue
        assert scale == 0 or scale > 1e-6, "a gradient that vanishes proves nothing"
        apart = float(np.max([np.abs(a - b).max() for a, b in zip(one, other, strict=True)]))
        errors.append(apart / scale if scale else np.inf)
    return errors
