"""Every error that boxcam raises on purpose.

    BoxcamError
    ├── InputError                an image or a folder cannot be read
    ├── OutputError               a result cannot be written
    ├── BundleError               a bundle is missing, altered, or of a newer version
    ├── UnknownLayerError         a layer was asked for that is not there
    ├── UnknownNameError          a method (or engine, or source) was asked for that is not there
    ├── PluginError               something that another package adds cannot be loaded
    ├── EngineError               a gradient engine cannot run here
    │   └── RunError              a graph fails on an image
    └── ExportError               a model cannot be turned into a bundle
        ├── SourceError           the config or checkpoint is at fault
        │   └── NothingToExplainError  the model gives neither boxes nor classes
        ├── MissingOperatorError  the model needs an operator that is not installed
        ├── TraceError            a detection cannot be followed back to its logit
        ├── UnsupportedOperatorError  an operator on the score path is not known
        └── VerificationError     the exported files do not agree with the model

A message says what is wrong, where, and what to do about it, in one line. What boxcam can do without, but has to say,
is a `BoxcamWarning`, through Python's ``warnings``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class BoxcamError(Exception):
    """Root of all errors that boxcam raises on purpose."""


class BoxcamWarning(UserWarning):
    """Something works, but not as was asked, or not as one may expect."""


class InputError(BoxcamError):
    """An image or a folder cannot be read."""


class OutputError(BoxcamError):
    """A result cannot be written."""


class BundleError(BoxcamError):
    """A bundle is missing, altered, or of a newer version."""


class UnknownLayerError(BoxcamError):
    """A layer was asked for that is not there."""

    def __init__(
        self,
        name: str,
        available: Iterable[str],
        where: str,
        close: Sequence[str] | None = None,
        advice: str = "",
    ) -> None:
        names = list(dict.fromkeys(available))
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5) if close is None else close
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        super().__init__(
            f"{where} has no layer {name!r}.{hint} There are: {', '.join(names) or 'none'}. {advice}".rstrip()
        )


class UnknownNameError(BoxcamError):
    """A method (or engine, or source) was asked for that is not there."""


class PluginError(BoxcamError):
    """Something that another package adds cannot be loaded."""


class EngineError(BoxcamError):
    """A gradient engine cannot run here."""


class RunError(EngineError):
    """A graph fails on an image."""


class ExportError(BoxcamError):
    """A model cannot be turned into a bundle."""


class SourceError(ExportError):
    """The config or checkpoint is at fault."""


class NothingToExplainError(SourceError):
    """The model gives neither boxes nor classes of the whole image."""


class MissingOperatorError(ExportError):
    """The model needs an operator that is not installed."""


class TraceError(ExportError):
    """A detection cannot be followed back to its logit."""


class UnsupportedOperatorError(ExportError):
    """An operator on the score path is not known."""


class VerificationError(ExportError):
    """The exported files do not agree with the model."""
