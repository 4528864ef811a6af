"""Which tests stay in one process, where several run at once, and which of them begin.

pytest-xdist has groups of its own (``xdist_group``), which it writes into the names of tests. Into those of pytest 9.2
xdist 3.8 cannot write: it deals the tests out one by one, without a word, and each process makes anew whatever tests of
a file share. So groups are told here from the names as they are, and a test holds the processes to them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from xdist.scheduler import LoadScopeScheduling

FIRST = (
    "tests/export/verify/plausible/test_right_readings.py",
    "tests/docs/test_snippets.py",
    "tests/other_frameworks/test_recorded.py",
    "mmdet: RetinaNet R18",
    "ONNX files: SSDLite320 MobileNetV3, suppression inside",
    "torchvision's classifiers: ResNet-18",
    "tests/conventions/test_wrong.py",
    "tests/conventions/test_further.py",
    "ONNX files: RetinaNet R18, raw scores and boxes",
    "mmdet: YOLOX tiny",
    "mmyolo: YOLOv8 n",
    "torchvision: SSDLite320 MobileNetV3",
)
"""The groups that take longest, which begin: one that began last would leave all processes but its own with nothing to
do. The end of a run tells how long the groups took."""

_FAMILY = re.compile(
    r"\[([\w' ]+: .*?)(-[^- ]+-(logit|score|[xy][12])-(onnx|torchscript)(-guided)?|-(onnx|torchscript))?\]$"
)


def group_of(test: str) -> str:
    """The group of a test by its name: a family of the matrix, whatever the file, or else its file.

    >>> group_of("tests/test_words.py::test_it[1]")
    'tests/test_words.py'
    >>> group_of("tests/matrix/test_matrix.py::test_it[mmdet: RetinaNet R18-neck-logit-onnx]")
    'mmdet: RetinaNet R18'
    """
    file = test.partition("::")[0]
    found = _FAMILY.search(test) if file.startswith("tests/matrix/") else None
    return found[1] if found else file


def following(groups: Iterable[str]) -> str:
    """Which of some groups is the next to begin: one of `FIRST`, or else the first one."""
    return min(groups, key=lambda group: FIRST.index(group) if group in FIRST else len(FIRST))


class Schedule(LoadScopeScheduling):
    """A group goes to a process as a whole; the next group goes to the process that is ready first."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.seconds: Counter[str] = Counter()

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)

    def _assign_work_unit(self, node: Any) -> None:
        """Give a process its next group."""
        self.workqueue.move_to_end(following(self.workqueue), last=False)
        super()._assign_work_unit(node)

    def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
        """A test is done."""
        self.seconds[group_of(self.registered_collections[node][item_index])] += duration
        super().mark_test_complete(node, item_index, duration)

    def summary(self, most: int = 20) -> list[str]:
        """The groups that took longest, a line each, and all of them together."""
        lines = [f"{seconds:7.1f} s  {group}" for group, seconds in self.seconds.most_common(most)]
        return [*lines, f"{self.seconds.total():7.1f} s  all {len(self.seconds)} groups, in {self.numnodes} processes"]
