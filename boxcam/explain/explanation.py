"""The result of explaining one image."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from boxcam.arguments import check_callable, numbers_of_boxes
from boxcam.errors import ArgumentError, PackageError
from boxcam.explain.box import ExplainedBox, box_of
from boxcam.explain.evidence import DETECTION, Color, Evidence
from boxcam.explain.facts import box_facts, facts
from boxcam.explain.files import encode_png, make_folder, write_files
from boxcam.explain.look import Scale, Style, look
from boxcam.explain.names import check_free, check_is_folder, is_name
from boxcam.explain.pictures import draw_overlay, draw_sheet, in_color, make_panel
from boxcam.explain.totals import totals, totals_of
from boxcam.targets import LOGIT
from boxcam.types import Image


@dataclass(frozen=True, eq=False, repr=False)
class Explanation(Evidence):
    """Why a model drew its boxes on one image: what `boxcam.explain` returns.

    It is a sequence of boxes, the best first: ``len(explanation)``, ``explanation[0]`` and ``for box in explanation``
    give each as an `ExplainedBox`; slices, lists of indices and masks, as
    ``explanation[explanation.detections.scores > 0.5]``, give several. The same as arrays are
    ``explanation.detections`` and ``explanation.maps``.

    Attributes:
        image: uint8 [H, W, 3], BGR, the image given.
        detections: the K boxes that were explained, `boxcam.Detections`.
        method, layer, engine, target: how, and what of the boxes.
        values: float32 [K], the number of each box that was explained: its logit, its score, or a side in pixels of the
            model's input.
        parts: of each box, its map in cells of the layer's tensors.
        guides: of each box, the map in cells that multiplies its own; None for most methods.
        other_boxes: how many boxes the model drew that were not asked for (too low a score, another class); 0 where a
            place was asked about, and no boxes.
        query: what was asked for: ``score``, ``top``, ``classes``, ``rank``, and of which image and bundle.

    >>> import boxcam
    >>> explanation = boxcam.explain("signs.boxcam", "street.jpg", top=2)
    >>> explanation
    <Explanation of street.jpg: pedestrian crossing 0.99, no entry 0.99; hirescam at neck of signs.boxcam>
    >>> [box.name for box in explanation]
    ['pedestrian crossing', 'no entry']
    """

    def __iter__(self) -> Iterator[ExplainedBox]:
        return (box_of(self, index) for index in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> ExplainedBox: ...

    @overload
    def __getitem__(self, index: slice | Sequence[int] | npt.NDArray[Any]) -> tuple[ExplainedBox, ...]: ...

    def __getitem__(
        self, index: int | slice | Sequence[int] | npt.NDArray[Any]
    ) -> ExplainedBox | tuple[ExplainedBox, ...]:
        boxes = tuple(box_of(self, k) for k in numbers_of_boxes(index, len(self)))
        return boxes if isinstance(index, slice | Iterable) else boxes[0]

    def __repr__(self) -> str:
        """One line: the image, its first boxes, and how they were explained."""
        names = [f"{box.name} {box.score:.2f}" for box in self[:3]]
        more = f" and {len(self) - 3} more" if len(self) > 3 else ""
        boxes = f"{', '.join(names)}{more}" if names else f"no {'class' if self.query.classifier else 'box'}"
        image = "{1}x{0} pixels".format(*self.image.shape) if self.query.image is None else Path(self.query.image).name
        target = "" if self.target in (LOGIT.name, DETECTION) else f" of {self.target}"
        return f"<Explanation of {image}: {boxes}; {self.method}{target} at {self.layer} of {self.query.bundle}>"

    def _repr_png_(self) -> bytes:
        """The sheet as a PNG file, which notebooks show."""
        return encode_png(self.sheet(color="BGR"))

    def overlay(
        self,
        k: int | slice | Sequence[int] | npt.NDArray[Any] | None = None,
        *,
        color: Color | None = None,
        outlines: bool = True,
        style: Style = "blend",
        scale: Scale = "per-box",
    ) -> Image:
        """The image under the heatmap of one box, or of several together.

        Args:
            k: which box, or which boxes: an index, a slice, several indices, or a mask with a boolean for each box; all
                by default. Where several heatmaps overlap, the strongest colour is shown.
            color: order of the result's channels, ``BGR`` or ``RGB``; by default that of the image as it was given,
                ``BGR`` for a file.
            outlines: whether to draw the boxes, too.
            style: ``blend`` for colours, which hide more of the image the hotter it is and nothing where there is no
                heat; ``contours`` for lines at a quarter, half and three quarters of the strongest.
            scale: ``per-box`` to scale each heatmap to its own peak, ``common`` to scale all to the largest peak of the
                explanation's boxes.

        Returns:
            uint8 [H, W, 3], as large as the image.

        Raises:
            IndexError: there is no such box.
            ArgumentError: ``k`` is something else, or ``color`` is no order of channels.
            UnknownNameError: there is no such style or scale.

        >>> import boxcam, cv2
        >>> explanation = boxcam.explain("signs.boxcam", "street.jpg")
        >>> cv2.imwrite("overlay.png", explanation.overlay(0))
        True
        >>> cv2.imwrite("first-two.png", explanation.overlay([0, 1]))
        True
        """
        chosen = numbers_of_boxes(slice(None) if k is None else k, len(self))
        drawn = draw_overlay(self, chosen, look(style, scale, self.signed, self.of_pixels), outlines)
        return in_color(drawn, color or self.query.color)

    def sheet(self, *, color: Color | None = None, style: Style = "blend", scale: Scale = "per-box") -> Image:
        """One picture of everything: all boxes, numbered, then each with its heatmap, class, score and peak.

        Maps are made at the size at which they are shown: of a large image that is much faster than `save`.

        Args:
            color, style, scale: as for `overlay`.

        Returns:
            uint8 [height, width, 3].

        Raises:
            ArgumentError, UnknownNameError: as of `overlay`.

        >>> import boxcam
        >>> boxcam.explain("signs.boxcam", "street.jpg").sheet().ndim
        3
        """
        how = look(style, scale, self.signed, self.of_pixels)
        panels = [make_panel(self, k, totals(self, k)) for k in range(len(self))]
        return in_color(draw_sheet(self, panels, how), color or self.query.color)

    def facts(self) -> dict[str, Any]:
        """What the JSON of `save` says, but for the names of the files next to it; docs/results.md tells of each entry.

        Raises:
            BoxcamError: the model gave a box, score or logit that is no number.

        >>> import boxcam
        >>> facts = boxcam.explain("signs.boxcam", "street.jpg").facts()
        >>> facts["method"], facts["detections"][0]["name"]
        ('hirescam', 'pedestrian crossing')
        """
        boxes = self.detections.boxes
        return facts(self, [box_facts(self, k, totals_of(self.map(k), boxes[k])) for k in range(len(self))])

    def save(
        self,
        folder: str | os.PathLike[str],
        name: str | None = None,
        *,
        progress: Callable[[int, int], None] | None = None,
        style: Style = "blend",
        scale: Scale = "per-box",
    ) -> tuple[Path, Path, Path]:
        """Write ``name.png`` (the sheet), ``name.npz`` (the raw maps and the boxes) and ``name.json`` (the facts).

        Each file is whole or not there. Earlier results of the same name are replaced, other files never.

        Args:
            folder: where; it is made if need be.
            name: of the files, without extension; by default that of the image, or ``image`` if it was no file.
            progress: called with the number of maps written and their total.
            style, scale: of the sheet, as for `overlay`; the maps and the facts are the same.

        Returns:
            The three paths, in that order.

        Raises:
            OutputError: a file cannot be written, or is there and not boxcam's; or the folder has the name of a file.
            ArgumentError: ``folder`` is no path, or ``name`` no name of a file in it.
            UnknownNameError: there is no such style or scale.
            BoxcamError: the model gave a box, score or logit that is no number.

        >>> import boxcam
        >>> [path.name for path in boxcam.explain("signs.boxcam", "street.jpg").save("out")]
        ['street.png', 'street.npz', 'street.json']
        """
        if not isinstance(folder, str | os.PathLike):
            raise ArgumentError(f"{folder!r} is not the path of a folder. Pass one, such as 'out'.")
        if name is not None and not is_name(name):
            raise ArgumentError(f"{name!r} is not the name of a file. Pass one without folders, such as 'street'.")
        check_callable("progress", progress)
        how = look(style, scale, self.signed, self.of_pixels)
        check_is_folder(folder, _ONE_PICTURE)
        image = None if self.query.image is None else Path(self.query.image)
        name = ("image" if image is None else image.stem) if name is None else name
        into = make_folder(folder)
        check_free([name], into, [] if image is None else [image])
        return write_files(self, into, name, progress, look=how)

    def to_supervision(self) -> Any:
        """The boxes as ``supervision.Detections``, with ``class_name`` in their data.

        Raises:
            PackageError: supervision is not installed.

        >>> import boxcam
        >>> boxcam.explain("signs.boxcam", "street.jpg", top=2).to_supervision()["class_name"]  # doctest: +SKIP
        array(['pedestrian crossing', 'no entry'], dtype='<U11')
        """
        try:
            import supervision
        except ModuleNotFoundError as error:
            raise PackageError.of("supervision", "to_supervision()") from error
        found = self.detections
        return supervision.Detections(
            xyxy=found.boxes.copy(),
            confidence=found.scores.copy(),
            class_id=found.labels.copy(),
            data={"class_name": np.array(found.names, dtype=np.str_)},
        )

    def to_frame(self) -> Any:
        """The boxes as a table, a ``pandas.DataFrame``: one row for each, with what `facts` says of it.

        Raises:
            PackageError: pandas is not installed.
            BoxcamError: the model gave a box, score or logit that is no number.

        >>> import boxcam
        >>> table = boxcam.explain("signs.boxcam", "street.jpg").to_frame()  # doctest: +SKIP
        >>> table[["name", "score", "x1", "share_inside_box"]]  # doctest: +SKIP
        """
        try:
            import pandas
        except ModuleNotFoundError as error:
            raise PackageError.of("pandas", "to_frame()") from error
        rows = []
        for said in self.facts()["detections"]:
            sides, told = dict(zip(("x1", "y1", "x2", "y2"), said.pop("box"), strict=True)), said.pop("candidate") or {}
            rows.append({**sides, **said, "reason": told.get("reason"), "why": told.get("why")})
        return pandas.DataFrame(rows, columns=list(_COLUMNS))


_ONE_PICTURE = 'Pass a folder, as in save("out"), or write one picture with cv2.imwrite and overlay().'
_COLUMNS = (
    *("name", "label", "score", "logit", "x1", "y1", "x2", "y2", "target", "depends_on_layer", "peak"),
    *("positive_evidence", "rounding", "share_inside_box", "completeness", "tensors", "origin"),
    *("against", "reason", "why"),
)
