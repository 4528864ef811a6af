"""A whole evaluation, from the names of files to the result."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from boxcam.arguments import check_callable
from boxcam.errors import ArgumentError, BoxcamError, BoxcamWarning, InputError, RunError
from boxcam.explain.evaluation.annotations import Annotations
from boxcam.explain.evaluation.evaluation import Evaluation
from boxcam.explain.evaluation.evaluator import Evaluator
from boxcam.explain.evaluation.request import Request
from boxcam.plurals import counted
from boxcam.runtime.images import find_images
from boxcam.runtime.model import Model

Watch = Callable[[int, int, Path], AbstractContextManager[Callable[[int, int], None]]]
"""From the number of an image, from 0, their total and its file to what is called while it is measured: with the number
of maps that are done, and their total."""


class Run:
    """An evaluation that can begin: all that is wrong with what was asked for was said.

    Args:
        model: a detector.
        images: files, folders and patterns.
        annotations: a file or folder of the truth; None for the model's own boxes.
        request: what is measured, and how.

    Attributes:
        files: the images.
        result: what is measured so far, with the errors of inputs that do not exist from the beginning.

    Raises:
        ArgumentError, UnknownNameError, UnknownLayerError, EngineError, InputError, PackageError: as `boxcam.evaluate`.
    """

    def __init__(
        self,
        model: Model,
        images: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        annotations: str | os.PathLike[str] | None,
        request: Request,
    ) -> None:
        given = _paths(images)
        self._truth = None if annotations is None else Annotations(annotations, model.manifest.labels)
        self._evaluator = Evaluator(model, request.rows, request.protocol(self._truth), self._truth)
        self.result = self._evaluator.result
        missing: list[InputError] = []
        self.files = find_images(given, missing, model.manifest.preprocess.channels)
        self.result.failures.extend(missing)

    def all(self, watch: Watch | None = None) -> Evaluation:
        """Measure all images; those that fail are left out, and stand in ``failures`` of the result."""
        evaluator, result = self._evaluator, self.result
        for number, file in enumerate(self.files):
            with (watch or _nobody)(number, len(self.files), file) as progress:
                try:
                    evaluator.add(file, progress)
                except InputError as error:
                    result.failures.append(error)
                except RunError as error:
                    result.failures.append(RunError(f"{file}: {error}"))
        if self._truth is not None:
            evaluator.end(self.files)
            if not result.images and not result.failures:
                result.failures.append(
                    InputError(
                        f"{self._truth.path} does not have the images that were given. Pass those that were annotated."
                    )
                )
        return result


def _paths(images: Any) -> list[str | os.PathLike[str]]:
    """Files, folders and patterns, one or several, as they are given.

    Raises:
        ArgumentError: it is something else, such as the pixels of an image.
        InputError: there is none.
    """
    single = isinstance(images, str | os.PathLike)
    if not single and (not isinstance(images, Iterable) or isinstance(images, bytes)):
        raise _no_paths(type(images).__name__)
    given: list[str | os.PathLike[str]] = [images] if single else list(images)
    for one in given:
        if not isinstance(one, str | os.PathLike):
            raise _no_paths(f"{type(images).__name__} with {type(one).__name__}")
    if not given:
        raise InputError("images= names no image. Pass a file, a folder or a pattern, such as 'val/*.jpg'.")
    return given


def _no_paths(what: str) -> ArgumentError:
    return ArgumentError(
        f"images= is {what}, and not the path of a file or folder, a pattern, or several of them. Pass those: pixels"
        " are measured once they are saved as a file."
    )


def counter(progress: Callable[[int, int], None] | None) -> Watch:
    """A watch that counts images for a function.

    Raises:
        ArgumentError: it cannot be called.
    """
    check_callable("progress", progress)

    @contextmanager
    def watch(number: int, total: int, file: Path) -> Iterator[Callable[[int, int], None]]:
        if progress is not None and number == 0:
            progress(0, total)
        yield lambda done, of: None
        if progress is not None:
            progress(number + 1, total)

    return watch


def checked(found: Evaluation) -> Evaluation:
    """An evaluation, whose failures are said: as an error if no image could be measured, otherwise as a warning.

    Raises:
        BoxcamError: the first failure, if there is nothing else.
    """
    if found.failures and not found.images:
        raise found.failures[0]
    if found.failures:
        failed: list[BoxcamError] = found.failures
        warnings.warn(
            f"{counted(len(failed), 'input')} could not be measured, the first because: {failed[0]} (All are in"
            " result.failures.)",
            BoxcamWarning,
            stacklevel=3,
        )
    return found


@contextmanager
def _nobody(number: int, total: int, file: Path) -> Iterator[Callable[[int, int], None]]:
    """A watch that sees nothing."""
    yield lambda done, total: None
