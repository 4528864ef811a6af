"""The archive of arrays that an explanation leaves: raw maps and detections."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from typing import IO

import numpy as np

from boxcam.explain.evidence import Evidence
from boxcam.types import Float


def write_archive(evidence: Evidence, file: IO[bytes]) -> Iterator[Float]:
    """Write a ``.npz`` file; the map of each box is made, written, and then given, so that only one is in memory.

    It has ``maps`` float32 [K, H, W], ``names`` str [K], and ``boxes``, ``scores``, ``labels``, ``logits``, ``origin``
    as in `boxcam.Detections`. The file is complete when the last map was taken and the iteration has ended.
    """
    detections = evidence.detections
    height, width = evidence.image.shape[:2]
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, True, 1) as npz:
        with npz.open("maps.npy", "w", force_zip64=True) as stream:
            shape = (len(evidence), height, width)
            np.lib.format.write_array_header_1_0(
                stream,
                {"descr": np.lib.format.dtype_to_descr(np.dtype("<f4")), "fortran_order": False, "shape": shape},
            )
            for k in range(len(evidence)):
                values = evidence.map(k)
                stream.write(values.astype("<f4").tobytes())
                yield values
        for key in ("boxes", "scores", "labels", "logits", "origin"):
            with npz.open(f"{key}.npy", "w") as stream:
                np.lib.format.write_array(stream, getattr(detections, key))
        with npz.open("names.npy", "w") as stream:
            np.lib.format.write_array(stream, np.array(detections.names, dtype=np.str_), allow_pickle=False)
