"""Whether it is believed that a file was read right, by all criteria, as an export and `boxcam inspect` ask it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from boxcam.bundle import Finding
from boxcam.errors import BoxcamWarning, SourceError
from boxcam.export.inspect.belief import believe
from boxcam.export.source import Request
from boxcam.export.sources.onnx import detections as detecting
from boxcam.export.sources.onnx import opened as opening
from tests.conventions.reading import PLAIN


def against(path: Path, **options: Any) -> dict[str, Finding | str]:
    """What speaks against a reading: ``asked``, ``warned``, and the criteria that find it doubtful or implausible."""
    request = Request((str(path),), **{"preprocess": PLAIN, **options})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", BoxcamWarning)
        try:
            opened = opening.read(request)
            found = detecting.detections(opened, request)
            findings = believe(opened, found, request, (), ()).findings
        except SourceError as error:
            return {"asked": str(error)}
    said = " ".join(str(one.message) for one in caught if issubclass(one.category, BoxcamWarning))
    doubts: dict[str, Finding | str] = {"warned": said} if said else {}
    return doubts | {one.check: one for one in findings if one.verdict in ("implausible", "doubtful")}
