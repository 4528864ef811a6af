"""The gradients of a family's bundle against its framework's own, or against finite differences."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from boxcam.bundle import Rules
from tests.matrix import finite
from tests.matrix.counterpart import Array, Watch, cut_at, plain_batch_norm, same, same_or_part
from tests.matrix.deployed import Deployed, Explained, whole
from tests.matrix.detections import pairs
from tests.matrix.guided import Guided
from tests.matrix.registry import Family, Place, Subject

SIDES = ("x1", "y1", "x2", "y2")
LIMIT = 1e-4
NOISY_LIMIT = 1e-3
"""Of boxes where noise is larger than `LIMIT`: the framework's own float32 gradient is that far from its own in
float64, or the gradients agree to `LIMIT` once the layer holds the same numbers, which two runtimes make a little
different."""


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

    def in_double(self) -> Scene:
        """The same, for a model in float64."""
        return replace(self, image=self.image.double(), proposals=[a.astype(np.float64) for a in self.proposals])

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
        boxes: how many boxes depend on the layer; of others both gradients were zero.
        tensors: on how many of the layer's tensors there was a gradient.
        noise: how far the framework's gradient in float32 is from its own in float64; of boxes where it was needed.
        level: the error where the framework's layer has the deployed one's numbers; of boxes where it was needed.
        flipped: how many boxes more there are whose error is above 1e-3 because a ReLU whose input is nearly 0 has
            flipped: their level is no more than 1e-4, or the error is at most twice the noise.
    """

    error: float
    limit: float
    boxes: int
    tensors: int
    noise: float | None = None
    level: float | None = None
    flipped: int = 0


class Case:
    """A family at work: its framework's model and its bundle."""

    def __init__(self, name: str, family: Family, subject: Subject, bundle: Path) -> None:
        self.name, self.family, self.subject, self.deployed = name, family, subject, Deployed(bundle)
        if subject.model is not None:
            subject.model.requires_grad_(False)
        self._scenes: dict[tuple[Path, str], Scene] = {}
        self._expected: dict[tuple[Path, str, str, Rules], Gradients] = {}
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

    def expected(self, scene: Scene, layer: str, features: Sequence[Array], rules: Rules = "plain") -> Gradients:
        """The framework's own gradients on a picture, computed once for all engines.

        Those of reported numbers where its layer holds the deployed one's: its own detections are of an image that it
        prepared itself, whose rounding is enough to flip a ReLU.
        """
        key = (scene.picture, scene.target, layer, rules)
        if key not in self._expected:
            given = () if scene.target == "logit" else features
            self._expected[key] = self.gradients(scene, layer, features, given, rules)
        return self._expected[key]

    def gradients(
        self,
        scene: Scene,
        layer: str,
        features: Sequence[Array],
        given: Sequence[Array] = (),
        rules: Rules = "plain",
    ) -> Gradients:
        """The framework's own gradients, by autograd on its live model.

        Args:
            scene: whose targets.
            layer: its name.
            features: its tensors, as deployed.
            given: tensors that take the place of the live model's own.
            rules: ``guided`` for guided backpropagation.

        Raises:
            AssertionError: the framework's model has no such tensors.
        """
        of = self._logits if scene.target == "logit" else self._reported
        with self._leaves(scene, layer, given) as (image, leaves):
            with Guided() if rules == "guided" else contextlib.nullcontext():
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
    def _leaves(
        self, scene: Scene, layer: str, given: Sequence[Array]
    ) -> Iterator[tuple[torch.Tensor, list[torch.Tensor]]]:
        """The image to run the live model on, and the tensors of the layer that it then has."""
        assert self.subject.model is not None, f"{self.name}: no live model"
        with plain_batch_norm(self.subject.model):
            if layer == "image":
                leaf = scene.image.clone().requires_grad_(True)
                yield leaf.clone(), [leaf]
                return
            places = self.subject.layers[layer]
            several: Sequence[Place] = places if isinstance(places, (list, tuple)) else [places]  # type: ignore[list-item]
            with cut_at(several, given) as leaves:
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

    def compare(self, layer: str, engine: str, target: str = "logit", rules: Rules = "plain") -> Agreement:
        """The bundle's gradients against the framework's own, or against finite differences.

        Raises:
            AssertionError: a gradient vanishes, or the framework's model has no such tensors.
        """
        errors: list[float | None] = []
        tensors: set[int] = set()
        for scene, features, found in self._found(layer, engine, target, rules):
            tensors |= {i for box in found for i, array in enumerate(box) if array.any()}
            if self.by_differences(target):
                errors += self._against_differences(scene, layer, found)
            else:
                errors += _apart(found, self.expected(scene, layer, features, rules))
        all_of_them = [error for error in errors if error is not None]
        worst = float(np.max(all_of_them, initial=0.0))  # unlike max(), keeps NaN
        if worst <= LIMIT or self.by_differences(target):
            return Agreement(worst, LIMIT, len(all_of_them), len(tensors))
        cell = (layer, engine, target, rules)
        noise, level = self.noise(*cell), self.at_the_same(*cell)
        boxes = [box for box in zip(errors, noise, level, strict=True) if box[0] is not None]
        flipped = [
            (e, n, same)
            for e, n, same in boxes
            if e > NOISY_LIMIT and (same <= LIMIT or (n > NOISY_LIMIT / 2 and e <= 2 * n))
        ]
        rest = [box for box in boxes if box not in flipped]
        noisy = [(e, n, same) for e, n, same in rest if not e <= LIMIT]
        excused = all(n > LIMIT or same <= LIMIT for _, n, same in noisy)
        return Agreement(
            float(np.max([e for e, _, _ in rest], initial=0.0)),
            NOISY_LIMIT if excused else LIMIT,
            len(rest),
            len(tensors),
            float(np.max([n for _, n, _ in noisy + flipped])),
            float(np.max([same for _, _, same in noisy], initial=0.0)),
            len(flipped),
        )

    def by_differences(self, target: str) -> bool:
        """Whether gradients are compared with finite differences, and not with a framework's autograd.

        A framework's own boxes come from its own proposals, which are not quite the deployed ones.
        """
        passes = self.subject.differentiable and not self.deployed.rois()
        return self.subject.model is None or (target != "logit" and not passes)

    def _found(
        self, layer: str, engine: str, target: str, rules: Rules
    ) -> Iterator[tuple[Scene, list[Array], Gradients]]:
        """The scenes with boxes; the layer's tensors, and the bundle's gradients, with the rows that count."""
        for picture in self.subject.pictures:
            scene = self.scene(picture, target)
            if not scene.boxes:
                continue
            prediction = self.deployed.predict(picture, layer, engine, target)
            explained = self.deployed.explain(prediction, layer, scene.boxes, engine, target, rules)
            rows = self._rows(scene, explained)
            features = [array[rows] for array in explained.features]
            found = [
                [whole(p, array.shape, rows) for p, array in zip(pieces, features, strict=True)]
                for pieces in explained.boxes
            ]
            yield scene, features, found

    def _rows(self, scene: Scene, explained: Explained) -> list[int]:
        """Which rows of a layer's tensors count: of proposals those that the boxes come from."""
        if not scene.proposals or len(explained.features[0]) == 1:
            return [0]
        return self.scene(scene.picture).some()[3]

    def _against_differences(self, scene: Scene, layer: str, found: Gradients) -> list[float | None]:
        """How far derivatives along two directions are from the gradient's, relative to its length.

        For each box; None for one that does not depend on the layer.
        """
        key = (scene.picture, scene.target, layer)
        if key not in self._measured:
            self._measured[key] = self._lines(scene, layer, found)
        errors: list[float | None] = []
        for box, lines in zip(found, self._measured[key], strict=True):
            own = [sum(float((g * w).sum()) for g, w in zip(box, line.way, strict=True)) for line in lines]
            apart = [abs(a - line.derivative) for a, line in zip(own, lines, strict=True)]
            depends = any(apart) or any(own)
            errors.append(float(np.max(apart)) / max(abs(lines[0].derivative), 1e-6) if depends else None)
        return errors

    def _lines(self, scene: Scene, layer: str, found: Gradients) -> list[list[Line]]:
        """Along each box's gradient and along a direction with random signs: what the target changes by."""
        names = self.deployed.tensors(layer)
        held = [self.deployed.input, *self.deployed.rois(), *self.subject.held]
        given = dict(zip(held, self.deployed.values(scene.image, held), strict=True))
        features = self.deployed.values(scene.image, names)
        given.update(zip(names, features, strict=True))
        rows = self.scene(scene.picture).some()[3]
        run = finite.Differences(self.deployed.graph, given, self.deployed.ends(scene.target))
        result = []
        for k, (gradient, (number, place)) in enumerate(zip(found, scene.ends, strict=True)):
            lines, rate = [], finite.length(gradient)
            for way in finite.directions(gradient, seed=k):
                moved = {name: np.zeros(feature.shape) for name, feature in zip(names, features, strict=True)}
                for name, array in zip(names, way, strict=True):
                    moved[name][slice(None) if array.shape == moved[name].shape else rows] = array
                derivative = run.along(moved, rate)[number][tuple(place)]
                lines.append(Line(way, float(derivative)))
            result.append(lines)
        return result

    def noise(self, layer: str, engine: str, target: str = "logit", rules: Rules = "plain") -> list[float]:
        """How far the framework's own gradients in float32 are from its own in float64, for each box.

        The largest difference, relative to the gradient's largest value.
        """
        found: list[float] = []
        for scene, features, _ in self._found(layer, engine, target, rules):
            assert self.subject.model is not None
            with in_double(self.subject.model):
                exact = self.gradients(scene.in_double(), layer, features, (), rules)
            found += [error or 0.0 for error in _apart(self.expected(scene, layer, features, rules), exact)]
        return found

    def at_the_same(self, layer: str, engine: str, target: str = "logit", rules: Rules = "plain") -> list[float]:
        """The error of each box where the layer's tensors in the framework's model hold the deployed ones' numbers."""
        errors: list[float] = []
        for scene, features, found in self._found(layer, engine, target, rules):
            given = [*features, *self._beside(scene, layer, features)]
            errors += [error or 0.0 for error in _apart(found, self.gradients(scene, layer, features, given, rules))]
        return errors

    def _beside(self, scene: Scene, layer: str, features: Sequence[Array]) -> list[Array]:
        """The deployed counterparts of what else the layer's modules give, such as a backbone's other stages."""
        with self._leaves(scene, layer, ()) as (image, leaves), torch.no_grad():
            of = self._logits if scene.target == "logit" else self._reported
            of(scene, image)
        others = [leaf for leaf in leaves if all(same_or_part(f, leaf.detach().numpy()) is None for f in features)]
        if not others:
            return []
        values = self.deployed.values(scene.image, self.deployed.of_shape([tuple(leaf.shape) for leaf in others]))
        return [value for value in values if any(_close(value, leaf.detach().numpy()) for leaf in others)]


@contextlib.contextmanager
def in_double(model: torch.nn.Module) -> Iterator[None]:
    """A model has its float32 weights in float64 within the block."""
    model.double()
    try:
        yield
    finally:
        model.float()


def _gradient(target: torch.Tensor, leaves: Sequence[torch.Tensor]) -> Sequence[torch.Tensor | None]:
    """With respect to each of the leaves; None where the target does not depend on it."""
    if not target.requires_grad:
        return [None] * len(leaves)
    found: Sequence[torch.Tensor | None] = torch.autograd.grad(target, leaves, retain_graph=True, allow_unused=True)
    return found


def _close(mine: Array, theirs: Array) -> bool:
    return mine.shape == theirs.shape and same(mine, theirs) is not None


def _apart(found: Gradients, expected: Gradients) -> list[float | None]:
    """The largest difference of two gradients, relative to the largest value of the expected one.

    For each box; None for one that does not depend on the layer, of which both are zero.
    """
    errors: list[float | None] = []
    for one, other in zip(found, expected, strict=True):
        scale = max(float(np.abs(array).max()) for array in other)
        if not any(array.any() for array in [*one, *other]):
            errors.append(None)
            continue
        assert scale == 0 or scale > 1e-6, "a gradient that vanishes proves nothing"
        apart = float(np.max([np.abs(a - b).max() for a, b in zip(one, other, strict=True)]))
        errors.append(apart / scale if scale else np.inf)
    return errors
