"""Where several processes run tests, a group stays in one of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import schedule
from tests.matrix.cases import CASES, NAMES
from tests.schedule import FIRST, following, group_of

_ROOT = Path(__file__).parents[1]
_MODULE = """
import os, pathlib, time
import pytest

@pytest.fixture(scope="module")
def made():
    with pathlib.Path(__file__).with_suffix(".made").open("a") as file:
        print(os.getpid(), file=file)

@pytest.mark.parametrize("number", range(6))
def test_it(number, made):
    time.sleep(0.02)
"""


def test_what_a_file_shares_is_made_once(tmp_path: Path) -> None:
    for name in "abcd":
        (tmp_path / f"test_{name}.py").write_text(_MODULE)
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    options = ["-n", "2", "--dist", "loadgroup", "-p", "tests.conftest", "-c", os.devnull, "--rootdir", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path)],
        env={**own, "PYTHONPATH": str(_ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "24 passed" in done.stdout
    assert "test_a.py\n" in done.stdout.partition("groups that took longest")[2]
    made = [(tmp_path / f"test_{name}.made").read_text().split() for name in "abcd"]
    assert [len(processes) for processes in made] == [1] * 4
    assert len({process for processes in made for process in processes}) == 2


def test_a_family_is_told_from_the_name_of_a_test() -> None:
    for case in (*NAMES, *CASES):
        for more in ("", "-onnx", "-torchscript") if len(case.values) == 1 else ("",):
            assert group_of(f"tests/matrix/test_matrix.py::test_it[{case.id}{more}]") == case.values[0]
    assert group_of("tests/matrix/test_table.py::test_it[1]") == "tests/matrix/test_table.py"
    assert group_of("tests/test_it.py::test_it[mmdet: x-onnx]") == "tests/test_it.py"


def test_what_takes_longest_is_there_and_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {case.values[0] for case in NAMES}
    assert [group for group in FIRST if group not in names and not (_ROOT / group).is_file()] == []
    monkeypatch.setattr(schedule, "FIRST", ("tests/test_c.py", "tests/test_b.py"))
    assert following(["tests/test_a.py", "tests/test_b.py", "tests/test_c.py"]) == "tests/test_c.py"
    assert following(["tests/test_d.py", "tests/test_a.py"]) == "tests/test_d.py"
