"""The families of the matrix, each made and exported once for all of its tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
import torch

import boxcam
import tests.matrix.families  # noqa: F401  (registers them)
from tests.matrix.measure import Case
from tests.matrix.registry import FAMILIES


@pytest.fixture(scope="package")
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    """A family of the registry in its framework and as a bundle; its name is the parameter."""
    family = FAMILIES[request.param]
    folder = tmp_path_factory.mktemp("family")
    engines = {cell.key.engine for cell in family.cells()}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with family.within():
            subject = family.make(folder)
            boxcam.export(
                *subject.arguments,
                output=folder / "family.boxcam",
                layers=list(dict.fromkeys(cell.key.layer for cell in family.cells())),
                targets=["logit", *family.targets],
                accept=["boxes", "place", "scores"],  # of random weights
                engine="auto" if len(engines) == 2 else engines.pop(),
                **subject.options,
            )
            yield Case(request.param, family, subject, folder / "family.boxcam")
    finally:
        shutil.rmtree(folder)  # hundreds of MB: all families together would fill a small disk
        torch.set_num_threads(threads)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of a family stand together, so that it is made once: pytest goes by a parameter's place in its list."""
    order = {name: number for number, name in enumerate(FAMILIES)}
    places = [place for place, item in enumerate(items) if _family(item)]
    of_families = sorted((items[place] for place in places), key=lambda item: order[_family(item)])
    for place, item in zip(places, of_families, strict=True):
        items[place] = item


def _family(item: pytest.Item) -> str:
    """The family that a test is of, or nothing."""
    callspec = getattr(item, "callspec", None)
    name = callspec.params.get("case") if callspec else None
    return name if isinstance(name, str) and name in FAMILIES else ""  # other tests have cases of their own
