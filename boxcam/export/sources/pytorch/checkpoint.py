"""Checkpoints of PyTorch: read without running what came with the file, and put into a model that they must fit."""

from __future__ import annotations

import os
import pickle
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from boxcam.bundle.pointers import POINTER, is_pointer
from boxcam.errors import SourceError
from boxcam.plurals import counted

_SHAPE = re.compile(r"size mismatch for (\S+): copying a param")


def read(path: str | os.PathLike[str], listed: Sequence[Any] = ()) -> dict[str, Any]:
    """Read a checkpoint without unpickling anything that is not on an explicit list.

    Args:
        path: the file that ``torch.save`` wrote.
        listed: types and functions that may be in it beside tensors and plain values, as
            ``torch.serialization.safe_globals`` takes them.

    Returns:
        The dictionary in the file.

    Raises:
        SourceError: the file is missing, is no checkpoint, or holds types that are not on the list.
    """
    import torch

    if not os.path.isfile(path):
        raise SourceError(f"checkpoint {path} does not exist. Check the path.")
    if is_pointer(path):
        raise SourceError(f"checkpoint {path} {POINTER}")
    if not _begins_like_a_checkpoint(path):
        raise SourceError(f"{path} is not a PyTorch checkpoint. Pass the .pth file that training wrote.")
    try:
        with torch.serialization.safe_globals(list(listed)), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that are damaged, which ends in an error anyway
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can make the unpickler stumble anywhere
        refused = re.search(r"GLOBAL (\S+)|it asks for (.+)", str(error))
        if isinstance(error, pickle.UnpicklingError) and refused:
            raise SourceError(
                f"checkpoint {path} is refused: it holds {refused[1] or refused[2]}, and unpickling that could run code"
                " from the file. Save the 'state_dict' alone and export that."
            ) from error
        raise SourceError(
            f"checkpoint {path} cannot be read: it is damaged or truncated ({_first_words(error)}). Copy it again."
        ) from error
    if not isinstance(checkpoint, dict):
        raise SourceError(
            f"checkpoint {path} holds a {type(checkpoint).__name__}, not a dictionary of weights. Save"
            " model.state_dict() and export that."
        )
    return checkpoint


def state_dict(checkpoint: Mapping[str, Any], path: str | os.PathLike[str], names: Sequence[str]) -> dict[str, Any]:
    """The weights in a checkpoint: under one of some names, or the checkpoint itself.

    Raises:
        SourceError: there are none.
    """
    import torch

    name = next((name for name in names if name in checkpoint), None)
    weights = checkpoint if name is None else checkpoint[name]
    if not isinstance(weights, Mapping) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise SourceError(
            f"checkpoint {path} has no {names[0]!r} of tensors. Save model.state_dict() of a trained model and export"
            " that."
        )
    return dict(weights)


def fill(
    model: Any,
    weights: Mapping[str, Any],
    path: str | os.PathLike[str],
    what: str,
    advice: str,
    idle: Callable[[str], bool] = lambda name: False,
) -> None:
    """Put a checkpoint's weights into a model; every tensor of each must be in the other, and finite.

    Args:
        model: the module; its own rules for the names of older versions are followed.
        weights: tensors by name; ``module.`` before a name is dropped.
        path: the checkpoint, for messages.
        what: the model, for messages: ``"config retinanet.py"``.
        advice: what to do if they do not fit, a sentence.
        idle: whether a tensor of the model or of the checkpoint may be absent from the other.

    Raises:
        SourceError: they do not fit.
    """
    import torch

    own = model.state_dict()
    counter = "num_batches_tracked"  # used in training only
    given = {name.removeprefix("module."): value for name, value in weights.items()}
    given = {n: v for n, v in given.items() if n in own or not (idle(n) or n.endswith(counter))}
    misfit: list[str] = []
    try:
        loaded = model.load_state_dict({n: v.float() if v.is_floating_point() else v for n, v in given.items()}, False)
    except RuntimeError as error:  # of another shape; they can all be named only when these are left out
        misfit = _SHAPE.findall(str(error))
        if not misfit:
            raise
        rest = {name: value for name, value in given.items() if name not in misfit}
        loaded = model.load_state_dict(rest, strict=False)
    missing = [n for n in loaded.missing_keys if n not in misfit and not (idle(n) or n.endswith(counter))]
    unknown = list(loaded.unexpected_keys)
    if missing or unknown or misfit:
        found = [
            f"{len(names)} {kind} (first: {names[0]})"
            for kind, names in (("missing", missing), ("unknown", unknown), ("of another shape", misfit))
            if names
        ]
        raise SourceError(
            f"checkpoint {path} does not fit {what}: of {counted(len(own), 'tensor')}, {', '.join(found)}. {advice}"
        )
    bad = [name for name, value in model.state_dict().items() if not torch.isfinite(value).all()]
    if bad:
        raise SourceError(
            f"checkpoint {path} holds values that are not finite (first: {bad[0]}). Export one from before training"
            " diverged."
        )


def _begins_like_a_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Whether the file begins as a zip archive or as a pickle, which are torch's two formats."""
    try:
        with open(path, "rb") as file:
            start = file.read(4)
    except OSError as error:
        raise SourceError(f"checkpoint {path} cannot be read: {error.strerror}. Check its permissions.") from error
    return start == b"PK\x03\x04" or start[:1] == b"\x80"


def _first_words(error: BaseException) -> str:
    """What an error of torch says, without the advice and the stack that it adds."""
    said = str(error).split("WeightsUnpickler error:")[-1].split("This is an internal miniz error")[0]
    line = next((line.strip() for line in said.splitlines() if line.strip()), type(error).__name__)
    return line.rstrip(".?!")[:160]
