"""Detectors, each exported once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import boxcam
from tests.explain.whynot.detectors import FAMILIES, Family, export
from tests.explain.whynot.variants import VARIANTS


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], boxcam.Model]:
    """A detector by the name of its family."""
    made: dict[str, boxcam.Model] = {}

    def model(name: str) -> boxcam.Model:
        if name not in made:
            family: Family = {**FAMILIES, **VARIANTS}[name]
            made[name] = boxcam.load(export(family, tmp_path_factory.mktemp("whynot")), threads=1)
        return made[name]

    return model
