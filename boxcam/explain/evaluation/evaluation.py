"""The result of comparing methods on many images."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boxcam.errors import ArgumentError, PackageError
from boxcam.explain.evaluation import report
from boxcam.explain.evaluation.measurements import Measurements
from boxcam.explain.files import make_folder
from boxcam.explain.names import check_is_folder
from boxcam.plurals import counted


@dataclass(eq=False, repr=False)
class Evaluation(Measurements):
    """Methods at layers, measured on the same boxes: what `boxcam.evaluate` returns.

    Printed, it is the table that `boxcam evaluate` prints; in a notebook it shows itself as one.

    Attributes:
        bundle: name of the bundle.
        annotations: name of the annotations, or None for the boxes of the model itself.
        protocol: how it was measured: ``metrics``, ``fills``, ``steps``, ``iou``, ``seed``.
        rows: method and layer of each row.
        images: names of the images that were measured.
        cases: the boxes that were measured, each with its figures.
        counts: how many boxes and objects there were of each kind, by its name for people.
        seconds: of each row, what its maps took altogether.
        passes: forward passes that the metrics took.
        failures: the errors of images that could not be measured.

    >>> import boxcam
    >>> found = boxcam.evaluate("signs.boxcam", "street.jpg", method=["gradcam", "hirescam"], metrics="energy")
    >>> found
    <Evaluation of signs.boxcam: gradcam and hirescam at neck, 5 boxes of 1 image>
    >>> print(found)
    metric            gradcam, neck  hirescam, neck  boxes
    energy ↑          0.2...          0.8...           5
    empty maps        0              0
    seconds an image  ...
    """

    def __repr__(self) -> str:
        """One line: the bundle, methods and layers, and of how many boxes."""
        methods, layers = (list(dict.fromkeys(names)) for names in zip(*self.rows, strict=True))
        at = f" at {' and '.join(layers)}" if any(layers) else ""
        boxes, images = counted(len(self.cases), "box", "boxes"), counted(len(self.images), "image")
        return f"<Evaluation of {self.bundle}: {' and '.join(methods)}{at}, {boxes} of {images}>"

    def __str__(self) -> str:
        """The table, as the command prints it."""
        return "\n".join(report.as_text(self))

    def _repr_markdown_(self) -> str:
        """The table, for notebooks."""
        return report.as_markdown(self)

    def figure(self, metric: str, row: int = 0) -> float:
        """The mean of a metric over the boxes, NaN without a box.

        Args:
            metric: its name; with the variant after an ``@`` if it has any, as ``oa@blur``.
            row: number of the method and layer, as in ``rows``.

        Raises:
            ArgumentError: it was not measured, or there is no such row.

        >>> import boxcam
        >>> found = boxcam.evaluate("signs.boxcam", "street.jpg", method="hirescam", metrics="pointing")
        >>> found.figure("pointing")
        1.0
        """
        figures = {(one.metric, one.row): one for one in self.figures()}
        if (metric, row) not in figures:
            there = ", ".join(dict.fromkeys(name for name, _ in figures))
            raise ArgumentError(
                f"{metric!r} of row {row} was not measured. Pass one of: {there}; rows are 0 to {len(self.rows) - 1}."
            )
        return figures[metric, row].mean

    def facts(self) -> dict[str, Any]:
        """Everything, with the figures of each box, as the JSON of `save` has it.

        >>> import boxcam
        >>> facts = boxcam.evaluate("signs.boxcam", "street.jpg", method="hirescam", metrics="pointing").facts()
        >>> facts["counts"], facts["figures"][0]["mean"]
        ({'images': 1, 'boxes': 5}, 1.0)
        """
        return report.as_facts(self)

    def notes(self) -> list[str]:
        """What has to be known of the figures, one sentence each.

        >>> import boxcam
        >>> boxcam.evaluate("signs.boxcam", "street.jpg", method="hirescam", metrics="pointing").notes()[0]
        'images: 1, boxes: 5.'
        """
        return report.notes(self)

    def save(self, folder: str | os.PathLike[str]) -> tuple[Path, Path, Path]:
        """Write ``evaluation.json``, ``evaluation.csv`` and ``evaluation.md``: as `boxcam evaluate` does.

        Each file is whole or not there. An earlier evaluation is replaced, other files never.

        Args:
            folder: where; it is made if need be.

        Returns:
            The three paths, in that order.

        Raises:
            OutputError: a file cannot be written, or is there and not boxcam's; or the folder has the name of a file.
            ArgumentError: ``folder`` is no path.

        >>> import boxcam
        >>> found = boxcam.evaluate("signs.boxcam", "street.jpg", method="hirescam", metrics="pointing")
        >>> [path.name for path in found.save("measured")]
        ['evaluation.json', 'evaluation.csv', 'evaluation.md']
        """
        if not isinstance(folder, str | os.PathLike):
            raise ArgumentError(f"{folder!r} is not the path of a folder. Pass one, such as 'out'.")
        check_is_folder(folder)
        report.check_free(folder)
        return report.write(self, make_folder(folder))

    def to_frame(self) -> Any:
        """The figures as a table, a ``pandas.DataFrame``: one row for each method, layer and metric.

        Raises:
            PackageError: pandas is not installed.

        >>> import boxcam
        >>> table = boxcam.evaluate("signs.boxcam", "street.jpg", metrics="energy").to_frame()  # doctest: +SKIP
        >>> table[["method", "layer", "metric", "mean", "low", "high", "boxes"]]  # doctest: +SKIP
        """
        try:
            import pandas
        except ModuleNotFoundError as error:
            raise PackageError.of("pandas", "to_frame()") from error
        columns = ("metric", "better", "mean", "low", "high", "boxes")
        rows = [
            {
                **dict(zip(("method", "layer"), self.rows[one.row], strict=True)),
                **{key: getattr(one, key) for key in columns},
            }
            for one in self.figures()
        ]
        return pandas.DataFrame(rows, columns=["method", "layer", *columns])
