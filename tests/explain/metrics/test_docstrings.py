"""The examples in the docstrings of metrics run, and each metric says where it is from."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from types import ModuleType

import pytest

import boxcam.explain.evaluation as evaluation
import boxcam.explain.metrics as metrics
import boxcam.explain.sanity as sanity

MODULES = {
    module.name: importlib.import_module(module.name)
    for package in (metrics, evaluation, sanity)
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
    if module.name != "boxcam.explain.evaluation.evaluation"  # public: tests/test_docstrings.py has its bundle
}
PAPERS = (
    "pointing",
    "energy",
    "compactness",
    "odi",
    "mask_iou",
    "sparseness",
    "faithfulness",
    "local",
    "vps",
    "similarity",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    module: ModuleType = MODULES[name]
    assert doctest.testmod(module).failed == 0


def test_there_are_examples() -> None:
    assert sum(doctest.testmod(module).attempted for module in MODULES.values()) > 10


@pytest.mark.parametrize("name", PAPERS)
def test_a_metric_names_its_source(name: str) -> None:
    module = MODULES[f"boxcam.explain.metrics.{name}"]
    said = " ".join(
        one.__doc__ or "" for one in vars(module).values() if getattr(one, "__module__", "") == module.__name__
    )
    assert re.search(r"(19|20)\d\d", said)
