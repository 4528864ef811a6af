"""The gradient rules, one file per family of operators."""

from boxcam.export.autodiff.rules import arithmetic as _arithmetic  # noqa: F401
