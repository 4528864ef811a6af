"""An evaluation as a table for people, and as JSON, CSV and Markdown."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from pathlib import Path
from typing import Any

from boxcam._version import __version__
from boxcam.errors import OutputError
from boxcam.explain.evaluation.measurements import Figure, Measurements
from boxcam.filesystem import read_file
from boxcam.leftovers import file_aside

NAME = "evaluation"
_ARROWS = {"higher": "↑", "lower": "↓", "neither": ""}
_LARGEST = 1 << 28


def table(found: Measurements) -> list[list[str]]:
    """Lines of cells: a head, then one line for each metric, with a mean and its interval for each row."""
    head = ["metric", *(f"{method}, {layer}" if layer else method for method, layer in found.rows), "boxes"]
    lines: dict[str, list[str]] = {}
    for figure in found.figures():
        arrow = _ARROWS[figure.better]
        lines.setdefault(figure.metric, [f"{figure.metric} {arrow}".rstrip()]).append(_cell(figure))
        if figure.row == len(found.rows) - 1:
            lines[figure.metric].append(str(figure.boxes))
    images = max(len(found.images), 1)
    cost = ["seconds an image", *(f"{seconds / images:.3f}" for seconds in found.seconds), ""]
    empty = ["empty maps", *(str(number) for number in found.empty().values()), ""]
    return [head, *lines.values(), empty, cost]


def notes(found: Measurements) -> list[str]:
    """What has to be known of the figures, one sentence each."""
    protocol = found.protocol
    counts = {"images": len(found.images), **found.counts}
    said = [f"{', '.join(f'{what}: {number}' for what, number in counts.items())}."]
    said.extend(found.remarks)
    if found.annotations is None:
        said.append("Without annotations, each of the model's own boxes stands for the object that it shows.")
    if len(found.common) < len(found.cases):
        said.append(
            "Boxes that have an empty map by some method, and are in no mean:"
            f" {len(found.cases) - len(found.common)} of {len(found.cases)}."
        )
    if found.stages:
        said.append(
            "Sanity: rank correlation (and structural similarity) of maps before and after the weights of so many of"
            " all layers are shuffled, from the outputs down; a map that stays alike does not show what was learned."
        )
    if protocol.agreement:
        said.append("Agreement: rank correlation of the maps of one box by two methods or layers.")
    said.append(
        f"Means with 95 % intervals of a bootstrap over images; seed {protocol.seed}, {protocol.steps} steps, IoU above"
        f" {protocol.iou:g}; {found.passes} forward passes for metrics."
    )
    return said


def as_text(found: Measurements) -> list[str]:
    """The table as lines for a terminal."""
    cells = table(found)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def as_markdown(found: Measurements) -> str:
    """The table and the notes as a page."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in table(found)]
    lines.insert(1, "|" + "---|" * (len(found.rows) + 2))
    return f"# Evaluation of {found.bundle}\n\n" + "\n".join(lines) + "\n\n" + "\n".join(notes(found)) + "\n"


def as_csv(found: Measurements) -> str:
    """One line for each figure."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "layer", "metric", "better", "mean", "low", "high", "boxes"])
    for one in found.figures():
        numbers = ["" if math.isnan(number) else f"{number:.6g}" for number in (one.mean, one.low, one.high)]
        writer.writerow([*found.rows[one.row], one.metric, one.better, *numbers, one.boxes])
    return text.getvalue()


def as_facts(found: Measurements) -> dict[str, Any]:
    """Everything, with the figures of each box, as JSON can hold it."""
    protocol = found.protocol
    columns = [name for name, _ in found.columns()]
    images = max(len(found.images), 1)
    return {
        "boxcam": __version__,
        "evaluation": 1,
        "bundle": found.bundle,
        "device": found.device,
        "providers": list(found.providers),
        "annotations": found.annotations,
        "seed": protocol.seed,
        "steps": protocol.steps,
        "iou": protocol.iou,
        "fills": list(protocol.fills),
        "sanity": list(found.stages),
        "counts": {"images": len(found.images), **found.counts},
        "remarks": list(found.remarks),
        "failures": [str(error) for error in found.failures],
        "forward_passes": found.passes,
        "rows": [
            {"method": method, "layer": layer, "empty_maps": found.empty()[row], "seconds_per_image": seconds / images}
            for row, ((method, layer), seconds) in enumerate(zip(found.rows, found.seconds, strict=True))
        ],
        "figures": [
            {
                **dict(zip(("method", "layer"), found.rows[one.row], strict=True)),
                "metric": one.metric,
                "better": one.better,
                **{key: _number(getattr(one, key)) for key in ("mean", "low", "high")},
                "boxes": one.boxes,
            }
            for one in found.figures()
        ],
        "boxes": [
            {
                "image": found.images[case.image],
                "name": case.name,
                "box": list(case.box),
                "score": case.score,
                "rows": [
                    {name: _number(value) for name, value in zip(columns, values, strict=True)}
                    for values in case.values
                ],
            }
            for case in found.cases
        ],
    }


def check_free(folder: str | os.PathLike[str]) -> None:
    """Make sure that a report replaces nothing but an earlier one.

    Raises:
        OutputError: a file of one of its names is there, and is not boxcam's.
    """
    there = [path for path in _paths(Path(folder)) if os.path.lexists(path)]
    facts = _paths(Path(folder))[0]
    try:
        earlier = not there or "evaluation" in json.loads(read_file(facts, _LARGEST))
    except (OSError, ValueError, TypeError):
        earlier = False
    if not earlier:
        raise OutputError(f"{there[0]} is there, and boxcam did not write it. Choose another folder.")


def write(found: Measurements, folder: Path) -> tuple[Path, Path, Path]:
    """Write ``evaluation.json``, ``evaluation.csv`` and ``evaluation.md``; each is whole or not there.

    Raises:
        OutputError: a file cannot be written.
    """
    paths = _paths(folder)
    facts = json.dumps(as_facts(found), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        for path, text in zip(paths, (facts, as_csv(found), as_markdown(found)), strict=True):
            with file_aside(path, "result") as file:
                file.write(text.encode(errors="backslashreplace"))
    except OSError as error:
        raise OutputError(
            f"cannot write {folder / NAME}.*: {error.strerror or error}. Choose another folder."
        ) from error
    return paths


def _paths(folder: Path) -> tuple[Path, Path, Path]:
    return folder / f"{NAME}.json", folder / f"{NAME}.csv", folder / f"{NAME}.md"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)


def _cell(one: Figure) -> str:
    if math.isnan(one.mean):
        return "-"
    return f"{one.mean:.3f}" if math.isnan(one.low) else f"{one.mean:.3f} [{one.low:.3f}, {one.high:.3f}]"
