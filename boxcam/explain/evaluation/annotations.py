"""The truth about images: objects, out of annotations in any of the usual forms."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from boxcam.errors import ArgumentError, InputError
from boxcam.explain.evaluation.coco import Coco
from boxcam.explain.evaluation.truth import Source, Truth, within
from boxcam.explain.evaluation.yolo import NAMES, Yolo
from boxcam.explain.metrics.sample import Thing
from boxcam.plurals import counted

_FORMS = (
    "Pass a JSON file of COCO's form, a folder of YOLO's text files (one for each image), or a folder of Pascal VOC's"
    " XML files."
)


class Annotations:
    """Annotations, in the form that they are seen to have.

    Args:
        path: a JSON file of COCO's form; a folder of YOLO's text files, with the class names in ``data.yaml`` or
            ``classes.txt`` there or above, or else with the numbers of the model's classes; or a folder of XML files of
            Pascal VOC's form.
        labels: the model's class names; a class is that of the same name, letters need not match in case.

    Attributes:
        path: as it was given.
        form: ``COCO``, ``YOLO`` or ``Pascal VOC``.
        unknown: names of its classes that the model lacks.

    Raises:
        InputError: it cannot be read, is of none of these forms, or has none of the model's classes.
        PackageError: a package that reading it needs is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], labels: Sequence[str]) -> None:
        if not isinstance(path, str | os.PathLike):
            raise ArgumentError(f"annotations={path!r} is not the path of a file or folder. {_FORMS}")
        self.path = Path(path)
        self._source = _open(self.path)
        self._by_number = self._source.names is None or (not labels and isinstance(self._source, Yolo))
        self.form = self._source.form
        self._labels, self.unknown = self._matched(labels)
        self._taken: dict[str, str] = {}
        """Of each annotated image, the file that it was taken for."""
        self._judged: frozenset[int] | None = None
        if not self._by_number:
            self._judged = frozenset(self._labels) - {-1}
        self.absent = tuple(name for k, name in enumerate(labels) if self._judged is not None and k not in self._judged)

    @property
    def masks(self) -> bool:
        """Whether any object's pixels are known."""
        return self._source.masks

    @property
    def remarks(self) -> list[str]:
        """What has to be known of its classes, one sentence each."""
        said = []
        if self.unknown:
            said.append(f"Classes of the annotations that the model lacks: {_some(self.unknown)}.")
        if self.absent:
            said.append(f"Classes of the model that the annotations lack: {_some(self.absent)}.")
        if self._by_number:
            said.append("Classes are matched by their numbers, since there are no names to match them by.")
        return said

    def others(self, files: Iterable[Path]) -> int:
        """How many images are annotated that are none of some files."""
        return len(set(self._source.images()) - {key for file in files if (key := self._found(file)) is not None})

    def of(self, file: Path, shape: tuple[int, ...]) -> Truth | None:
        """What is in an image; None if the annotations do not have it.

        Args:
            file: the image's file; it is found by its name.
            shape: its height and width.

        Raises:
            InputError: the annotations are of an image of another size or of another file that was given before,
                several are meant, or a mask is broken.
        """
        key = self._source.key(file)
        if key is None:
            return None
        things: list[Thing] = []
        crowds: list[Thing] = []
        left_out: Counter[str] = Counter()
        entries = self._source.entries(key, file, shape)
        other = self._taken.setdefault(key, os.path.abspath(file))
        if other != os.path.abspath(file):
            raise InputError(
                f"{file}: what {self.path} has for an image of this name was taken for {other} already, and can be of"
                " one of them only. Pass the one that was annotated, or give them names of their own."
            )
        for entry in entries:
            box, said = within(entry.box, shape)
            if said:
                left_out[said] += 1
            if box is not None:
                thing = Thing(box, self._labels[entry.category], None if entry.crowd else entry.mask)
                (crowds if entry.crowd else things).append(thing)
        return Truth(tuple(things), tuple(crowds), left_out, self._judged)

    def _found(self, file: Path) -> str | None:
        try:
            return self._source.key(file)
        except InputError:  # it was said when the image was measured
            return None

    def _matched(self, labels: Sequence[str]) -> tuple[list[int], tuple[str, ...]]:
        """Of each class of the annotations its number in the model, -1 for none; and the names of those."""
        if self._by_number or self._source.names is None:
            assert isinstance(self._source, Yolo)
            highest = self._source.highest
            numbers = [k if not labels or k < len(labels) else -1 for k in range(highest + 1)]
            return numbers, tuple(f"class {k}" for k, number in enumerate(numbers) if number < 0)
        known = {name.strip().casefold(): index for index, name in reversed(list(enumerate(labels)))}
        numbers = [known.get(name.strip().casefold(), -1) for name in self._source.names]
        if numbers and all(number < 0 for number in numbers):
            raise InputError(
                f"{self.path}: none of its classes ({_some(self._source.names)}) is a class of the model"
                f" ({_some(labels)}). Rename them, or export the model again with class_names=."
            )
        return numbers, tuple(name for name, number in zip(self._source.names, numbers, strict=True) if number < 0)


def _open(path: Path) -> Source:
    """The annotations, in the form that they are seen to have.

    Raises:
        InputError: it is none, and what was seen instead.
    """
    if path.is_dir():
        return _of_folder(path)
    if path.suffix.lower() in (".txt", ".xml", ".yaml", ".yml") and path.is_file():
        raise InputError(
            f"{path} is one file, and such annotations are one for each image: pass their folder. {_FORMS}"
        )
    return Coco(path)


def _of_folder(path: Path) -> Source:
    try:
        files = [file for file in path.iterdir() if not file.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}. Check its permissions.") from error
    of = {kind: [file for file in files if file.suffix.lower() == kind] for kind in (".txt", ".xml", ".json")}
    texts = [file for file in of[".txt"] if file.name not in NAMES]
    if texts and of[".xml"]:
        raise InputError(
            f"folder {path} holds text files ({len(texts)}) as well as XML files ({len(of['.xml'])}). Pass a folder"
            " with one of them."
        )
    if of[".xml"]:
        from boxcam.explain.evaluation.voc import Voc  # XML is read by nothing else here

        return Voc(of[".xml"])
    if texts:
        return Yolo(path, texts)
    raise InputError(f"folder {path} holds no annotations, but {_seen(files)}. {_mend(path, of['.json'])}")


def _mend(path: Path, json_files: Sequence[Path]) -> str:
    """What to pass instead of a folder without annotations."""
    if json_files:
        return f"Pass the file, such as {min(json_files)}."
    deeper = [file for kind in ("txt", "xml") for depth in ("*", "*/*") for file in path.glob(f"{depth}/*.{kind}")]
    below = sorted({file.parent for file in deeper if file.name not in NAMES})
    return f"Pass the folder that has them, such as {below[0]}." if below else _FORMS


def _seen(files: Collection[Path]) -> str:
    """What lies in a folder, for people."""
    kinds = Counter("folders" if file.is_dir() else f"{file.suffix.lower() or 'other'} files" for file in files)
    return ", ".join(f"{kind} ({number})" for kind, number in kinds.most_common(4)) or "nothing"


def _some(names: Sequence[str]) -> str:
    more = f" and {counted(len(names) - 5, 'other')}" if len(names) > 5 else ""
    return f"{', '.join(names[:5]) or 'none'}{more}"
