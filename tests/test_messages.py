"""The check of messages finds what is missing."""

from __future__ import annotations

import pytest

from tests.messages import missing_parts


@pytest.mark.parametrize(
    ("message", "missing"),
    [
        ("boxcam: a.jpg is truncated: it ends before the image does. Copy it again.", []),
        ("no tensor 'x' is in the graph. Did you mean 'y'? There are: y, z.", []),
        ("shape=64x64 contradicts the model's input [1, 3, 32, 32], which is fixed. Leave it out.", []),
        ("a.jpg is truncated: it ends before the image does.", ["mend"]),
        ("the image is damaged.", ["where", "mend"]),
        ("Grayscale images are not supported.", ["where", "mend"]),
        ("it cannot be read. Copy it again.", ["where"]),
        ("a.jpg: oops. Copy it again.", ["what"]),
        ("Copy 'a.jpg' again.", ["what"]),
        ("the bundle has no layer 'x'. There are: none.", ["mend"]),
        ("the export of 'a.onnx' failed: exporters fail.", ["mend"]),
    ],
)
def test_what_is_missing_is_found(message: str, missing: list[str]) -> None:
    assert missing_parts(message) == missing
