"""What an explanation leaves on disk: an overlay sheet, the raw maps, and a JSON for machines."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np

from boxcam._version import __version__
from boxcam.errors import BoxcamError, OutputError
from boxcam.explain.explainer import Explanation
from boxcam.explain.methods import METHODS
from boxcam.explain.render import PERCENTILE, Panel, panel_heat, sheet
from boxcam.targets import LOGIT, TARGETS
from boxcam.types import IMAGE

"""Where a side of a box moves as its number becomes larger."""
OVERLAY, MAPS, FACTS = ".png", ".npz", ".json"


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Make sure that a folder is there and can be written.

    Raises:
        OutputError: it cannot.
    """
    folder = Path(path)
    if os.path.exists(folder) and not folder.is_dir():
        raise OutputError(f"cannot write into {folder}: it is a file, not a folder. Choose a folder with -o.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix="."):
            pass
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {error.strerror}. Choose another folder with -o.") from error
    return folder


def names(images: Sequence[Path], folder: Path) -> list[str]:
    """Names for the results of some images: each image's own, with a number where two images share one.

    Raises:
        OutputError: a result would replace one of the images, or a file that is no result of boxcam's.
    """
    own = {image.stem for image in images}
    taken: set[str] = set()
    given = []
    for image in images:
        name, count = image.stem, 1
        while name in taken or (count > 1 and name in own):
            count += 1
            name = f"{image.stem}-{count}"
        taken.add(name)
        given.append(name)
    results = {os.path.realpath(folder / (name + extension)) for name in given for extension in (OVERLAY, MAPS, FACTS)}
    for image in images:
        if os.path.realpath(image) in results:
            raise OutputError(f"the results would replace the image {image}. Choose another folder with -o.")
    for name in given:
        there = [file for end in (FACTS, OVERLAY, MAPS) if os.path.lexists(file := folder / (name + end))]
        if there and not _is_ours(folder / (name + FACTS)):
            raise OutputError(
                f"the results would replace {there[0]}, which boxcam did not write (no {name + FACTS} of its own lies"
                " beside it). Move it away, or choose another folder with -o."
            )
    return given


def _is_ours(facts: Path) -> bool:
    """Whether a file is the JSON of an earlier result; what lies beside it under the same name is, too."""
    try:
        found = json.loads(facts.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and "boxcam" in found


def save(explanation: Explanation, folder: Path, name: str, image: str, bundle: str, extra: Mapping[str, Any]) -> None:
    """Write ``name.png``, ``name.npz`` and ``name.json``; each is whole or not there.

    Args:
        explanation: what to write.
        folder: where; see `make_folder`.
        name: of the files, without extension.
        image: the image's path, for the JSON.
        bundle: the bundle's name, for the picture and the JSON.
        extra: further entries of the JSON.

    Raises:
        OutputError: a file cannot be written.
        BoxcamError: the model gave a box, score or logit that is no number.
    """
    for what in ("boxes", "scores", "logits"):
        if not np.isfinite(getattr(explanation.detections, what)).all():
            raise BoxcamError(
                f"{image}: the model's {what} hold NaN or infinite values, so its result is not written."
                " Check the model on this image."
            )
    try:
        with (
            _aside(folder / (name + MAPS)) as maps,
            _aside(folder / (name + OVERLAY)) as overlay,
            _aside(
                folder / (name + FACTS)
            ) as facts,  # the last made is the first in place: it marks the others as ours
        ):
            shown = _write_maps(explanation, maps)
            said = {
                "boxcam": __version__,
                "bundle": bundle,
                "image": image,
                "height": explanation.image.shape[0],
                "width": explanation.image.shape[1],
                "method": explanation.method,
                "layer": explanation.layer,
                "target": explanation.target,
                "engine": explanation.engine,
                **extra,
                "overlay": name + OVERLAY,
                "maps": name + MAPS,
                "other_boxes": explanation.other_boxes,
                "detections": [_box_facts(explanation, k, of) for k, of in enumerate(shown)],
            }
            text = json.dumps(said, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
            facts.write(text.encode(errors="backslashreplace"))  # a file name that is not UTF-8 comes back from JSON
            subtitle = f"{explanation.method}{_of(explanation)} at {explanation.layer}, {bundle}"
            brightest = f"{PERCENTILE} % of the lit pixels" if _of_pixels(explanation) else "peak (per box)"
            picture = sheet(explanation.image, [of.panel for of in shown], Path(image).name, subtitle, brightest)
            good, data = cv2.imencode(OVERLAY, picture)
            assert good
            overlay.write(data.tobytes())
    except OSError as error:
        raise OutputError(f"cannot write {folder / name}.*: {error.strerror or error}.") from error


@dataclass(frozen=True, eq=False)
class _Shown:
    """What is kept of a box's map once it is written: nothing of the image's size.

    Attributes:
        share: see `_share_inside`.
        panel: for the sheet.
    """

    share: float | None
    panel: Panel


def _write_maps(explanation: Explanation, file: IO[bytes]) -> list[_Shown]:
    """Write the archive of arrays; maps are made and written one by one."""
    shown = []
    detections = explanation.detections
    height, width = explanation.image.shape[:2]
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, True, 1) as npz:
        with npz.open("maps.npy", "w", force_zip64=True) as stream:
            shape = (len(explanation), height, width)
            np.lib.format.write_array_header_1_0(
                stream,
                {"descr": np.lib.format.dtype_to_descr(np.dtype("<f4")), "fortran_order": False, "shape": shape},
            )
            for k in range(len(explanation)):
                values = explanation.map(k)
                stream.write(values.astype("<f4").tobytes())
                share = _share_inside(values, detections.boxes[k])
                shown.append(_Shown(share, _panel(explanation, k, values)))
        for key in ("boxes", "scores", "labels", "logits", "origin"):
            with npz.open(f"{key}.npy", "w") as stream:
                np.lib.format.write_array(stream, getattr(detections, key))
        with npz.open("names.npy", "w") as stream:
            np.lib.format.write_array(stream, np.array(detections.names, dtype=np.str_), allow_pickle=False)
    return shown


def _box_facts(explanation: Explanation, k: int, shown: _Shown) -> dict[str, Any]:
    detections = explanation.detections
    return {
        "box": [round(float(v), 3) for v in detections.boxes[k]],
        "label": int(detections.labels[k]),
        "name": detections.names[k],
        "score": float(detections.scores[k]),
        "logit": float(detections.logits[k]),
        "origin": [int(v) for v in detections.origin[k]],
        "target": float(explanation.values[k]),
        "tensors": [part.tensor for part in explanation.parts[k]],
        "depends_on_layer": explanation.depends(k),
        "peak": shown.panel.peak,
        "positive_evidence": shown.panel.peak > 0,
        "share_inside_box": shown.share,
    }


def _panel(explanation: Explanation, k: int, values: Any) -> Panel:
    detections = explanation.detections
    x1, y1, x2, y2 = (float(v) for v in detections.boxes[k])
    label, name, score = int(detections.labels[k]), detections.names[k], float(detections.scores[k])
    heat = panel_heat(values, len(explanation), _of_pixels(explanation))
    return Panel((x1, y1, x2, y2), label, name, score, float(values.max()), heat, explanation.depends(k))


def _of(explanation: Explanation) -> str:
    """What of a box was explained, for the sheet: of a side, lit is what makes its number larger."""
    if explanation.target == LOGIT.name:
        return ""
    way = TARGETS[explanation.target].larger if explanation.target in TARGETS else ""
    signed = not METHODS[explanation.method].image  # methods of pixels show what matters, for and against
    return f" of {explanation.target}{f' (what moves it {way})' if way and signed else ''}"


def _of_pixels(explanation: Explanation) -> bool:
    """Whether its maps are of single pixels, and not of the cells of a layer."""
    return explanation.layer == IMAGE or explanation.guides is not None


def _share_inside(values: Any, box: Any) -> float | None:
    """The share of a map's positive energy that lies inside its box; None for a map without any."""
    positive = np.maximum(values, 0)
    total = float(positive.sum(dtype=np.float64))
    if total == 0:
        return None
    x1, y1 = (int(np.floor(v)) for v in box[:2])
    x2, y2 = (int(np.ceil(v)) for v in box[2:])
    return round(float(positive[y1:y2, x1:x2].sum(dtype=np.float64)) / total, 6)


@contextlib.contextmanager
def _aside(path: Path) -> Iterator[IO[bytes]]:
    """A file that is put in place when the block ends well, and is gone if it does not."""
    name = path.parent / f".boxcam-{secrets.token_hex(8)}"  # short: the file's own name may be as long as one can be
    try:
        with open(name, "xb") as file:  # with the rights that the umask leaves, unlike tempfile's
            yield file
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
