"""A family's bundle against its framework: detections and gradients."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.matrix import finite
from tests.matrix.counterpart import Array, Watch, cut_at, plain_batch_norm, same
from tests.matrix.deployed import Deployed, whole
from tests.matrix.registry import Family, Place, Subject

LIMIT = 1e-4
NOISY_LIMIT = 1e-3
"""Where the framework's own float32 gradient changes by more than `LIMIT` when each module's output is rounded anew."""


@dataclass(frozen=True)
class Scene:
    """A picture, the boxes of it that are explained, and what the deployed detector computed of it.

    ``rows`` are the proposals that the boxes come from; ``logits`` and ``proposals`` have only those. ``ends`` are, for
    each box, the number of the tensor of logits and the flat position there, ``whole_ends`` the position with all of
    the proposals.
    """

    picture: Path
    image: torch.Tensor
    boxes: list[int]
    ends: list[tuple[int, int]]
    whole_ends: list[tuple[int, int]]
    logits: list[Array]
    proposals: list[Array]
    rows: list[int]


@dataclass(frozen=True)
class Expected:
    """The framework's own gradients: for each box one array for each tensor of the layer, [r, C, H, W]."""

    gradients: list[list[Array]]


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
        self._scenes: dict[Path, Scene] = {}
        self._expected: dict[tuple[Path, str], Expected] = {}
        self._measured: dict[tuple[Path, str], list[list[Line]]] = {}

    def canvas(self, picture: Path) -> torch.Tensor:
        return (self.subject.canvas or self.deployed.canvas)(picture)

    def scene(self, picture: Path) -> Scene:
        if picture not in self._scenes:
            self._scenes[picture] = self._scene(picture)
        return self._scenes[picture]

    def _scene(self, picture: Path) -> Scene:
        detections = self.deployed.predict(picture).detections
        last = len(detections) - 1
        boxes = sorted({round(k) for k in np.linspace(0, last, min(self.subject.boxes, last + 1))})
        return self.scene_at(picture, detections.origin[boxes].tolist(), boxes)

    def scene_at(self, picture: Path, origin: Sequence[Sequence[int]], boxes: Sequence[int] = ()) -> Scene:
        """A picture, with logits that need not have made a box."""
        image, boxes = self.canvas(picture), list(boxes)
        logits = self.deployed.values(image, self.deployed.ends())
        proposals = self.deployed.values(image, self.deployed.rois())
        origins = [(number, list(place)[: logits[number].ndim]) for number, *place in origin]
        whole_ends = [(n, int(np.ravel_multi_index(place, logits[n].shape))) for n, place in origins]
        if not proposals:
            return Scene(picture, image, boxes, whole_ends, whole_ends, logits, [], [0])
        axes = [array.shape.index(len(proposals[0])) for array in logits]
        rows = sorted({place[axes[number]] for number, place in origins})
        logits = [np.take(array, rows, axis) for array, axis in zip(logits, axes, strict=True)]
        for number, place in origins:
            place[axes[number]] = rows.index(place[axes[number]])
        ends = [(n, int(np.ravel_multi_index(place, logits[n].shape))) for n, place in origins]
        return Scene(picture, image, boxes, ends, whole_ends, logits, [array[rows] for array in proposals], rows)

    def expected(self, picture: Path, layer: str, features: Sequence[Array]) -> Expected:
        """The framework's own gradients on a picture, computed once for all engines."""
        key = (picture, layer)
        if key not in self._expected:
            self._expected[key] = self.gradients(self.scene(picture), layer, features)
        return self._expected[key]

    def gradients(self, scene: Scene, layer: str, features: Sequence[Array]) -> Expected:
        """The framework's own gradients, by autograd on its live model."""
        used = sorted({number for number, _ in scene.ends})
        positions = [np.array([at for n, at in scene.ends if n == number], np.int64) for number in used]
        with self._leaves(scene, layer) as (run, leaves):
            with Watch([scene.logits[n] for n in used], positions) as watch:
                run()
            lost = [self.deployed.ends()[n] for i, n in enumerate(used) if i not in watch.taken]
            assert not lost, f"{self.name}: the framework's model computes nothing like the deployed {lost}"
            pairs = [self._leaf(layer, feature, leaves) for feature in features]
            taken = {n: iter(watch.taken[i]) for i, n in enumerate(used)}
            gradients = []
            for number, _ in scene.ends:
                target = next(taken[number])
                found = _gradient(target, [leaf for leaf, _ in pairs])
                gradients.append(
                    [
                        np.zeros(index.shape, np.float32) if gradient is None else gradient.numpy().ravel()[index]
                        for gradient, (_, index) in zip(found, pairs, strict=True)
                    ]
                )
        return Expected(gradients)

    @contextlib.contextmanager
    def _leaves(self, scene: Scene, layer: str) -> Iterator[tuple[Any, list[torch.Tensor]]]:
        model, run = self.subject.model, self.subject.run
        assert model is not None, f"{self.name}: no live model"
        assert run is not None, f"{self.name}: a live model, and no way to run it"
        more = [scene.proposals] if scene.proposals else []
        with plain_batch_norm(model):
            if layer == "image":
                leaf = scene.image.clone().requires_grad_(True)
                yield lambda: run(leaf.clone(), *more), [leaf]
                return
            places = self.subject.layers[layer]
            several: Sequence[Place] = places if isinstance(places, (list, tuple)) else [places]  # type: ignore[list-item]
            with cut_at(several) as leaves:
                yield lambda: run(scene.image, *more), leaves

    def _leaf(self, layer: str, feature: Array, leaves: Sequence[torch.Tensor]) -> tuple[torch.Tensor, Array]:
        for leaf in leaves:
            index = same(feature, leaf.detach().numpy())
            if index is not None:
                return leaf, index
        shapes = [tuple(leaf.shape) for leaf in leaves]
        raise AssertionError(
            f"{self.name}: none of the tensors of {layer} in the framework's model, {shapes}, is the deployed one of"
            f" {feature.shape}"
        )

    def compare(self, layer: str, engine: str) -> Agreement:
        """The bundle's gradients against the framework's own.

        Raises:
            AssertionError: a gradient vanishes, or the framework's model has no such tensors.
        """
        errors, tensors = [], set()
        for picture in self.subject.pictures:
            scene = self.scene(picture)
            if not scene.boxes:
                continue
            prediction = self.deployed.predict(picture, layer, engine)
            explained = self.deployed.explain(prediction, layer, scene.boxes, engine)
            features, rows = self._rows(explained.features, scene)
            found = [
                [whole(p, array.shape, rows) for p, array in zip(pieces, features, strict=True)]
                for pieces in explained.boxes
            ]
            tensors |= {i for box in found for i, array in enumerate(box) if array.any()}
            if self.by_differences:
                errors += self._against_differences(scene, layer, explained.features, found)
            else:
                errors += _apart(found, self.expected(picture, layer, features).gradients)
        error = float(np.max(errors, initial=0.0))  # unlike max(), keeps NaN
        noise = None if error <= LIMIT or self.by_differences else self.noise(layer, engine)
        limit = NOISY_LIMIT if noise is not None and noise > LIMIT else LIMIT
        return Agreement(error, limit, noise, len(errors), len(tensors))

    @property
    def by_differences(self) -> bool:
        """Whether gradients are compared with finite differences, and not with a framework's autograd."""
        return self.subject.model is None

    def _against_differences(
        self, scene: Scene, layer: str, features: Sequence[Array], found: list[list[Array]]
    ) -> list[float]:
        """How far derivatives along two directions are from the gradient's, relative to its length.

        For each box that depends on the layer.
        """
        key = (scene.picture, layer)
        if key not in self._measured:
            self._measured[key] = self._lines(scene, layer, features, found)
        errors = []
        for box, lines in zip(found, self._measured[key], strict=True):
            own = [sum(float((g * w).sum()) for g, w in zip(box, line.way, strict=True)) for line in lines]
            apart = [abs(a - line.derivative) for a, line in zip(own, lines, strict=True)]
            if any(apart) or any(own):
                errors.append(float(np.max(apart)) / max(abs(lines[0].derivative), 1e-6))
        return errors

    def _lines(self, scene: Scene, layer: str, features: Sequence[Array], found: list[list[Array]]) -> list[list[Line]]:
        """Along each box's gradient and along a direction with random signs: what the target changes by."""
        names, ends = self.deployed.tensors(layer), self.deployed.ends()
        held = [self.deployed.input, *self.deployed.rois(), *self.subject.held]
        given = dict(zip(held, self.deployed.values(scene.image, held), strict=True))
        given.update(zip(names, self.deployed.values(scene.image, names), strict=True))
        run = finite.Differences(self.deployed.graph, given, ends)
        result = []
        for k, (gradient, (number, place)) in enumerate(zip(found, scene.whole_ends, strict=True)):
            lines, rate = [], finite.length(gradient)
            for way in finite.directions(gradient, seed=k):
                moved = {}
                for name, array, feature in zip(names, way, features, strict=True):
                    moved[name] = np.zeros(feature.shape)
                    moved[name][scene.rows if len(array) != len(feature) else slice(None)] = array
                derivative = run.along(moved, rate)[number].ravel()[place]
                lines.append(Line(way, float(derivative)))
            result.append(lines)
        return result

    def _rows(self, features: Sequence[Array], scene: Scene) -> tuple[list[Array], list[int]]:
        """A layer's tensors, of the proposals only those that boxes come from; and which these are."""
        if not scene.proposals or len(features[0]) == 1:
            return list(features), [0]
        return [array[scene.rows] for array in features], scene.rows

    def noise(self, layer: str, engine: str) -> float:
        """How much the framework's own gradients change when the output of each of its modules is rounded anew.

        The largest difference over the pictures and three runs, relative to the gradient's largest value, where each
        number is multiplied by 1 + e, e being ± half a unit in the last place.
        """
        worst = 0.0
        for picture in self.subject.pictures:
            scene = self.scene(picture)
            if not scene.boxes:
                continue
            explained = self.deployed.explain(
                self.deployed.predict(picture, layer, engine), layer, scene.boxes[:1], engine
            )
            features, _ = self._rows(explained.features, scene)
            exact = self.expected(picture, layer, features).gradients
            for seed in range(3):
                assert self.subject.model is not None
                with rounded_anew(self.subject.model, seed):
                    noisy = self.gradients(scene, layer, features).gradients
                for a, b in zip(exact, noisy, strict=True):
                    scale = max(float(np.abs(x).max()) for x in a)
                    worst = max(worst, *(float(np.abs(x - y).max()) / scale for x, y in zip(a, b, strict=True)))
        return worst


@contextlib.contextmanager
def rounded_anew(model: torch.nn.Module, seed: int) -> Iterator[None]:
    """Within the block each float32 output of a module without children is off by half a unit in its last place."""
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


def _apart(found: list[list[Array]], expected: list[list[Array]]) -> list[float]:
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


def differences(case: Case) -> tuple[int, float, float]:
    """How many detections were compared with the framework's own, and the largest difference of sides and scores.

    Raises:
        AssertionError: one of them has no counterpart.
    """
    count, sides, scores = 0, [0.0], [0.0]
    for picture in case.subject.pictures:
        with torch.no_grad():
            sides_of, scores_of, labels_of = case.subject.detect(case.canvas(picture)).arrays()
        prediction = case.deployed.predict(picture)
        mine, transform = prediction.detections, prediction.transform
        boxes = transform.boxes_to_canvas(mine.boxes)
        assert len(mine) == len(scores_of), f"{case.name}: {len(mine)} boxes, the framework has {len(scores_of)}"
        # Boxes are cut off at the image's edge, which is before the canvas'.
        corner = np.array([transform.left, transform.top] * 2)
        limit = corner + np.array([transform.resized_width, transform.resized_height] * 2)
        expected = np.clip(sides_of, corner, limit)
        left = list(range(len(mine)))
        for box, score, label in zip(expected, scores_of, labels_of, strict=True):
            apart = np.abs(boxes[left] - box).max(1)
            close = np.abs(mine.scores[left] - score)
            fits = (apart < case.subject.pixels) & (close < case.subject.score) & (mine.labels[left] == label)
            assert fits.any(), f"{case.name}: {box} of class {label}, score {score:.4f}, has no counterpart"
            best = int(np.argmin(np.where(fits, close, np.inf)))
            sides.append(float(apart[best]))
            scores.append(float(close[best]))
            del left[best]
        count += len(mine)
    return count, max(sides), max(scores)
