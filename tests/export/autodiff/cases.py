"""The cases of all gradient rules, out of the files ``cases_*.py``."""

from __future__ import annotations

import importlib
import pkgutil

import tests.export.autodiff
from boxcam.export.autodiff import rules as _registered  # noqa: F401
from tests.export.autodiff.differences import Case

CASES: list[Case] = [
    case
    for module in pkgutil.iter_modules(tests.export.autodiff.__path__)
    if module.name.startswith("cases_")
    for case in importlib.import_module(f"tests.export.autodiff.{module.name}").CASES
]
