"""Addresses of the network where files are wanted, and arrays in files that are no images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from boxcam.cli import main
from boxcam.errors import InputError
from boxcam.runtime.planes import read_planes


@pytest.mark.parametrize(
    "arguments",
    [
        ["export", "https://a.b/yolov8n.onnx"],
        ["export", "config.py", "s3://bucket/weights.pth"],
        ["inspect", "https://a.b/yolov8n.onnx"],
    ],
)
def test_models_are_not_fetched(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "is an address on the network, and only files are read. Download it first." in result.output


def test_an_array_in_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "faces.npy", np.zeros((200, 25, 25)))
    with pytest.raises(InputError, match=r"faces\.npy: the array of float64 \[200, 25, 25\] cannot be used\. Pass one"):
        read_planes(tmp_path / "faces.npy", 3)
