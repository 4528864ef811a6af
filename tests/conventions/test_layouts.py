"""Every row of the table: its file is read as the layout's published decoding reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxcam.export.heads.conventions.table import CONVENTIONS
from tests.conventions.files import Layout, write
from tests.conventions.layouts import LAYOUTS
from tests.conventions.reading import expected, outputs, read, same

CASES = [(name, classes) for name, layout in LAYOUTS.items() for classes in layout.counts]


@pytest.mark.parametrize(("name", "classes"), CASES)
@pytest.mark.parametrize("written", ["with metadata", "without metadata", "stripped"])
def test_it_is_read_as_published(name: str, classes: int, written: str, tmp_path: Path) -> None:
    layout = LAYOUTS[name]
    names, strip = written == "with metadata", written == "stripped"
    path = write(layout, tmp_path / "model.onnx", classes, names=names, strip=strip)
    options = {**({} if names else layout.options), **(layout.stripped if strip else {})}
    entry = options.pop("entry", layout.entry)
    found = read(path, **options)
    assert found.convention.name == CONVENTIONS[entry].title
    same(found.found, expected(layout, layout.truth(outputs(path, found.image), classes)))
    assert Layout
