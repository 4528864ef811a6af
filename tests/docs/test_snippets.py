"""Every command and every snippet of README and docs runs, from a page's top to its end, against real files.

What cannot run here says why, by one of `REASONS`, and how many may be so is written down; its commands are checked as
far as they can be: the options exist, the extras and make targets are there.
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner

from boxcam.cli import main
from boxcam.commands.demo import BUNDLE, DATA
from tests.docs import files
from tests.docs.pages import PAGES, ROOT, RUN, SHOWN, Block, Command, blocks_of, commands_of, matches, text_of

REASONS = {
    "installs packages": 8,
    "installs packages from PyTorch's own index": 2,
    "runs in a clone of the repository": 3,
    "needs a GPU": 1,
    "needs a framework that is not installed here": 4,
    "an example of --help, with files of other names": 5,
}
"""Why a block is not run, and how many blocks may say so."""
FOLLOWED_ELSEWHERE = {"docs/extending.md": "tests/test_contributing.py"}
"""A page whose blocks another test puts together and runs."""
BLOCKS = {page: blocks_of(page) for page in PAGES}
NOT_RUN = [block for blocks in BLOCKS.values() for block in blocks if "not run" in block.notes]


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the files that pages name are made, once."""
    return tmp_path_factory.mktemp("docs")


class Reader:
    """Someone who does what a page says, in a folder with the files that it names."""

    def __init__(self, page: str, folder: Path, store: Path) -> None:
        self.folder, self.store = folder, store
        self.text = "".join(block.text for block in BLOCKS[page])
        self.count = 0
        self.printed = ""
        self.names: dict[str, Any] = {}

    def new_folder(self) -> None:
        """Start anew."""
        self.count += 1
        self.names = {"__name__": "__main__"}
        place = self.folder / str(self.count)
        place.mkdir()
        os.chdir(place)
        for name in files.named_in(self.text):
            made = self.store / name
            if not made.exists():
                files.FILES[name](made)
            (shutil.copytree if made.is_dir() else shutil.copyfile)(made, place / name)
        shutil.copytree(DATA / "signs", place / BUNDLE)  # the one that `boxcam demo` gives the reader

    def follow(self, block: Block) -> None:
        """Do what a block says; what it prints and leaves is what the page shows."""
        if "folder" in block.notes:
            self.new_folder()
        if "file" in block.notes:
            Path(block.notes["file"]).write_text(block.text, encoding="utf-8")
        elif "output" in block.notes:
            assert matches(block.text, self.printed), f"{block}: printed was\n{self.printed}"
        elif block.language == "python":
            self.printed = self.python(block)
        elif block.language == "console":
            for command in commands_of(block.text):
                self.printed = self.command(block, command)
        elif block.language == "bash":
            self.printed = self.shell(block, block.text)
        for name in block.notes.get("leaves", "").split():
            there = Path(name)
            assert there.is_dir() or there.stat().st_size > 0, f"{block}: {name}"

    def python(self, block: Block) -> str:
        code = compile("\n" * block.line + block.text, str(ROOT / block.page), "exec")
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(code, self.names)
        return printed.getvalue()

    def command(self, block: Block, command: Command) -> str:
        if command.line.startswith("boxcam ") and not re.search(r"[|&;<>]", command.line):
            given = shlex.split(command.line.replace("\\\n", ""), comments=True)[1:]
            done = CliRunner().invoke(main, given, prog_name="boxcam")
            assert done.exit_code == 0, f"{block}: {command.line}\n{done.output}\n{done.exception!r}"
            printed = done.output
        else:
            printed = self.shell(block, command.line)
        if command.output is not None:
            assert matches(command.output, printed), f"{block}: {command.line}\nprinted\n{printed}"
        return printed

    def shell(self, block: Block, script: str) -> str:
        programs = self.folder / "bin"
        if not programs.exists():
            programs.mkdir()
            for name, start in (("boxcam", " -m boxcam.cli"), ("python", "")):
                (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}"{start} "$@"\n')
                (programs / name).chmod(stat.S_IRWXU)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{block}: {script}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.mark.parametrize(
    "page",
    [
        page
        for page, blocks in BLOCKS.items()
        if page not in FOLLOWED_ELSEWHERE and any(block.language in RUN for block in blocks)
    ],
)
def test_a_page_can_be_followed(page: str, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    reader = Reader(page, tmp_path, store)
    reader.new_folder()
    for block in BLOCKS[page]:
        if "not run" not in block.notes:
            reader.follow(block)


def test_what_is_followed_elsewhere_is() -> None:
    for page, test in FOLLOWED_ELSEWHERE.items():
        included = re.findall(r'^--8<-- "([^"]+)"$', (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
        assert included
        assert all(name in (ROOT / test).read_text(encoding="utf-8") for name in included)


def test_every_block_says_what_it_is() -> None:
    for blocks in BLOCKS.values():
        for block in blocks:
            assert block.language in (*RUN, *SHOWN), f"{block}: a block in {block.language!r}"


def test_few_blocks_are_not_run_and_all_say_why(capsys: pytest.CaptureFixture[str]) -> None:
    counts = Counter(block.notes["not run"] for block in NOT_RUN)
    assert set(counts) <= set(REASONS)
    for reason, count in counts.items():
        assert count <= REASONS[reason], [str(block) for block in NOT_RUN if block.notes["not run"] == reason]
    with capsys.disabled():
        sys.stdout.write(f"\nblocks that are not run: {dict(counts)}\n")


def commands_not_run() -> Iterator[tuple[Block, str]]:
    for block in NOT_RUN:
        if block.language == "console":
            for command in commands_of(block.text):
                yield block, command.line.replace("\\\n", " ")


def test_commands_that_are_not_run_would_be_understood() -> None:
    """boxcam's own: the command and its options are there, and so is every choice."""
    for block, line in commands_not_run():
        words = shlex.split(line, comments=True)
        if words[0] == "boxcam" and len(words) > 1 and not words[1].startswith("-"):
            command = main.commands[words[1]]
            with contextlib.suppress(click.exceptions.Exit):
                command.make_context(words[1], words[2:])  # a usage error is raised, and says what is wrong
            assert block


def test_what_is_installed_can_be() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = set(project["optional-dependencies"])
    lines = [line for _, line in commands_not_run() if re.search(r"\bpip install\b", line)]
    assert lines
    for line in lines:
        for name, asked in re.findall(r"(boxcam|\.)\[([\w,]+)\]", line):
            assert name in (".", project["name"])
            assert set(asked.split(",")) <= extras, line
        for file in re.findall(r"(?:-c|-r) (\S+)", line):
            assert (ROOT / file).exists(), line


def test_make_targets_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = [match for page in PAGES for match in re.findall(r"(?:`|\$ )make ([a-z]+)", text_of(page))]
    assert {"demo", "test", "check"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_what_is_shown_is_well_formed() -> None:
    """YAML is a file for ``--preprocess``, and Python that is not run is Python."""
    for blocks in BLOCKS.values():
        for block in blocks:
            if block.language == "yaml":
                assert isinstance(yaml.safe_load(block.text), dict), str(block)
            elif block.language == "python":
                ast.parse(block.text)
