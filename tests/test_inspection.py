"""What `boxcam inspect` says of an input."""

from __future__ import annotations

import dataclasses

from boxcam.bundle import Preprocess
from boxcam.inspection import _preprocess

SPEC = Preprocess(64, 96, 60, 90, "fit", "top-left", (0, 0, 0), False, (1, 2.5, 3), (4, 5, 6), "RGB")


def test_how_an_image_becomes_the_input() -> None:
    tail = "; RGB, mean 1, 2.5, 3, std 4, 5, 6"
    assert _preprocess(SPEC) == (
        f"fit the image into 60x90 keeping its ratio (bilinear), pad it below and to the right to 64x96{tail}"
    )
    stretched = dataclasses.replace(SPEC, resize="stretch", pad_to="center", dtype="float16")
    assert _preprocess(stretched) == (
        f"fit the image into 60x90 stretching it (bilinear), pad it all around to 64x96{tail}; NCHW, float16"
    )
    cut = dataclasses.replace(SPEC, resize="cover", pad_to="center", fit_height=73, fit_width=110, layout="NHWC")
    assert _preprocess(cut) == (
        f"resize the image to cover 73x110 (bilinear), cut 64x96 out of the middle{tail}; NHWC, float32"
    )
