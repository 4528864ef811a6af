"""Every error that boxcam raises on purpose.

    BoxcamError
    ├── ArgumentError             an argument has a value that it cannot have (a ValueError, too)
    ├── PackageError              a package is not installed (an ImportError, too)
    ├── InputError                an image or a folder cannot be read
    ├── OutputError               a result cannot be written
    ├── BundleError               a bundle is missing, altered, or of a newer version
    ├── UnknownLayerError         a layer was asked for that is not there
    ├── UnknownNameError          a method (or engine, or source) was asked for that is not there
    ├── LimitError                a run takes more time or memory than `boxcam.limits` allows
    ├── PluginError               something that another package adds cannot be loaded
    ├── EngineError               a gradient engine cannot run here
    │   └── RunError              a graph fails on an image
    └── ExportError               a model cannot be turned into a bundle
        ├── SourceError           the config or checkpoint is at fault
        │   └── NothingToExplainError  the model gives neither boxes nor classes
        ├── MissingOperatorError  the model needs an operator that is not installed
        ├── TraceError            a detection cannot be followed back to its logit
        │   └── NoLogitError      its score is made of several numbers; the score itself can be explained
        ├── UnsupportedOperatorError  an operator on the score path is not known
        └── VerificationError     the exported files do not agree with the model
            └── ImplausibleError  the model was read in a way that is not to be believed

A message says what is wrong, where, and what to do about it, in one line. What boxcam can do without, but has to say,
is a `BoxcamWarning`, through Python's ``warnings``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence


class BoxcamError(Exception):
    """Root of all errors that boxcam raises on purpose.

    >>> import boxcam
    >>> try:
    ...     boxcam.load("nowhere.boxcam")
    ... except boxcam.BoxcamError as error:
    ...     print(error)
    bundle nowhere.boxcam does not exist. Make one with 'boxcam export'.
    """


class BoxcamWarning(UserWarning):
    """Something works, but not as was asked, or not as one may expect.

    >>> import boxcam, warnings
    >>> warnings.simplefilter("error", boxcam.BoxcamWarning)  # raise them
    >>> warnings.resetwarnings()
    """


class ArgumentError(BoxcamError, ValueError):
    """An argument has a value that it cannot have."""


class PackageError(BoxcamError, ImportError):
    """A package is not installed."""

    @classmethod
    def of(cls, package: str, what: str, extra: str = "") -> PackageError:
        """That ``what`` needs a package, and how to install it: by one of boxcam's extras if it is in one."""
        install = f"'boxcam[{extra}]'" if extra else package
        return cls(f"{what} needs {package}, which is not installed here: pip install {install}", name=package)


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
        hint = did_you_mean(name, names) if close is None else _hint(close)
        super().__init__(
            f"{where} has no layer {name!r}.{hint} There are: {', '.join(names) or 'none'}. {advice}".rstrip()
        )


class UnknownNameError(BoxcamError):
    """A method (or engine, or source) was asked for that is not there."""

    @classmethod
    def of(
        cls, kind: str, name: object, known: Iterable[str], others: Mapping[str, str] | None = None
    ) -> UnknownNameError:
        """That there is no such thing, with the names that are close and all that there are.

        Args:
            kind: what is asked for, in the singular: ``method``.
            name: what was given.
            known: the names that there are.
            others: what people call them elsewhere, and which name of ours that is.
        """
        names = list(known)
        hint = did_you_mean(name, names, others)
        return cls(f"there is no {kind} {name!r}.{hint} There are: {', '.join(names) or 'none'}.")


def did_you_mean(name: object, known: Iterable[str], others: Mapping[str, str] | None = None) -> str:
    """The names that a wrong one is close to, as a sentence after a blank; nothing if there are none.

    Args:
        name: what was given; letters need not match in case.
        known: the names that there are.
        others: what people call them elsewhere, and which name of ours that is.
    """
    wanted, lower = str(name).lower(), {one.lower(): one for one in known}
    if wanted in (others or {}):
        return _hint([(others or {})[wanted]])
    return _hint([lower[one] for one in difflib.get_close_matches(wanted, lower, n=3, cutoff=0.5)])


def _hint(names: Sequence[str]) -> str:
    return f" Did you mean {' or '.join(map(repr, names))}?" if names else ""


class LimitError(BoxcamError):
    """A run takes more time or memory than it may."""


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


class NoLogitError(TraceError):
    """A score is not made of one logit of its class that can be told; the score itself can be explained."""


class UnsupportedOperatorError(ExportError):
    """An operator on the score path is not known."""


class VerificationError(ExportError):
    """The exported files do not agree with the model."""


class ImplausibleError(VerificationError):
    """The model was read in a way that is not to be believed, or that differs from what the user's own code finds."""
