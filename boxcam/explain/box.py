"""One box of an explanation."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from boxcam.explain.evidence import Color, Evidence
from boxcam.explain.files import encode_png
from boxcam.explain.look import Scale, Style, look
from boxcam.explain.pictures import draw_overlay, in_color
from boxcam.types import Float, Image


@dataclass(frozen=True, eq=False)
class ExplainedBox:
    """One box that a model drew, and the map that says why; ``explanation[k]`` gives it.

    Two are equal if they are the same box of the same explanation.

    Attributes:
        index: which box of the explanation, the best one is 0.
        name: class name.
        label: class index.
        score: 0..1, as the model reports it.
        box: x1 y1 x2 y2 in image pixels.
        logit: the number behind the score.
        depends: whether the box depends on the layer at all; if not, its map is empty for that reason.

    >>> import boxcam
    >>> box = boxcam.explain("signs.boxcam", "street.jpg")[0]
    >>> box.name, round(box.score, 2), [round(side) for side in box.box]
    ('pedestrian crossing', 0.99, [159, 8, 237, 89])
    """

    index: int
    name: str
    label: int
    score: float
    box: tuple[float, float, float, float]
    logit: float
    depends: bool
    _evidence: Evidence = field(repr=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ExplainedBox) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple[int, int]:
        return id(self._evidence), self.index

    def _repr_png_(self) -> bytes:
        """The overlay as a PNG file, which notebooks show."""
        return encode_png(self.overlay(color="BGR"))

    @cached_property
    def map(self) -> Float:
        """What speaks for the box, and where: float32 [H, W], raw, in image pixels; made when first asked for.

        >>> import boxcam
        >>> boxcam.explain("signs.boxcam", "street.jpg")[0].map.shape
        (320, 320)
        """
        return self._evidence.map(self.index)

    @property
    def peak(self) -> float:
        """The largest value of the map.

        >>> import boxcam
        >>> box = boxcam.explain("signs.boxcam", "street.jpg")[0]
        >>> box.peak == float(box.map.max())
        True
        """
        return float(self.map.max())

    @property
    def has_evidence(self) -> bool:
        """Whether any pixel of the map speaks for the box.

        >>> import boxcam
        >>> boxcam.explain("signs.boxcam", "street.jpg")[0].has_evidence
        True
        """
        return self.peak > 0

    def overlay(
        self,
        *,
        color: Color | None = None,
        outlines: bool = True,
        style: Style = "blend",
        scale: Scale = "per-box",
    ) -> Image:
        """The image under the box's heatmap; the same as `Explanation.overlay` of this box.

        Args:
            color: order of the result's channels, ``BGR`` or ``RGB``; that of the explanation by default.
            outlines: whether to draw the box, too.
            style: ``blend`` for colours, ``contours`` for lines of equal heat.
            scale: ``per-box``, or ``common`` for that of all boxes of the image.

        Returns:
            uint8 [H, W, 3], as large as the image.

        Raises:
            UnknownNameError: there is no such style or scale.

        >>> import boxcam
        >>> boxcam.explain("signs.boxcam", "street.jpg")[0].overlay().dtype
        dtype('uint8')
        """
        drawn = draw_overlay(
            self._evidence, [self.index], look(style, scale, self._evidence.signed, self._evidence.of_pixels), outlines
        )
        return in_color(drawn, color or self._evidence.query.color)


def box_of(evidence: Evidence, index: int) -> ExplainedBox:
    """The box of that index, 0 to K - 1."""
    detections = evidence.detections
    x1, y1, x2, y2 = (float(side) for side in detections.boxes[index])
    return ExplainedBox(
        index=index,
        name=detections.names[index],
        label=int(detections.labels[index]),
        score=float(detections.scores[index]),
        box=(x1, y1, x2, y2),
        logit=float(detections.logits[index]),
        depends=evidence.depends(index),
        _evidence=evidence,
    )
