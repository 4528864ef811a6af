"""CONTRIBUTING.md is followed to the letter: what each recipe writes makes a package, which is installed and tested."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "boxcam_example"
KINDS = {
    "A method": "boxcam.methods",
    "A rule for an operator": "boxcam.rules",
    "A preset of preprocessing": "boxcam.presets",
    "A source": "boxcam.sources",
    "A convention of outputs": "boxcam.conventions",
    "A target": "boxcam.targets",
    "A command": "boxcam.commands",
}


@dataclass(frozen=True)
class Recipe:
    """What is written for one addition: a module, a row, a test."""

    module: str
    row: str
    test: str

    @property
    def entry(self) -> tuple[str, str, str]:
        """Group, name and value of its entry point."""
        ((group, names),) = tomllib.loads(self.row)["project"]["entry-points"].items()
        ((name, value),) = names.items()
        return group, name, value


def recipes() -> dict[str, Recipe]:
    """The recipes of CONTRIBUTING.md by their headings."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Adding something")[2]
    parts = re.split(r"^### (.+)$", text, flags=re.MULTILINE)[1:]
    fenced = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    found = {}
    for heading, part in zip(parts[::2], parts[1::2], strict=True):
        blocks = fenced.findall(part)
        assert [language for language, _ in blocks] == ["python", "toml", "python"], heading
        found[heading] = Recipe(*(block for _, block in blocks))
    return found


def install(folder: Path, entries: list[tuple[str, str, str]]) -> None:
    """Put beside a package what an installer writes of it."""
    info = folder / f"{PACKAGE}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 1.0\n", encoding="utf-8")
    rows = (f"[{group}]\n{name} = {value}\n" for group, name, value in entries)
    (info / "entry_points.txt").write_text("\n".join(rows), encoding="utf-8")


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python where the package is installed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=False, env=environment, cwd=folder
    )


def test_there_is_a_recipe_for_each_kind_of_addition() -> None:
    assert {heading: recipe.entry[0] for heading, recipe in recipes().items()} == KINDS


def test_each_recipe_is_one_file_one_row_and_one_test(tmp_path: Path) -> None:
    site, package = tmp_path / "site", tmp_path / "site" / PACKAGE
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    tests, entries = [], []
    for recipe in recipes().values():
        _, _, value = recipe.entry
        module = value.removeprefix(f"{PACKAGE}.")
        (package / f"{module}.py").write_text(recipe.module, encoding="utf-8")
        tests.append(site / f"test_{module}.py")
        tests[-1].write_text(recipe.test, encoding="utf-8")
        entries.append(recipe.entry)
    install(site, entries)
    written = [file for file in package.iterdir() if file.name != "__init__.py"]
    assert len(written) == len(entries) == len(tests) == len(KINDS)
    done = run(site, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(site), *map(str, tests))
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^9 passed", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.parametrize(
    ("module", "why"),
    [
        ("import nothing_of_that_name\n", "cannot be loaded: ModuleNotFoundError: No module named"),
        ("def broken(:\n", "cannot be loaded: SyntaxError: "),
        ("'nothing is registered'\n", "does not register a {kind} of that name when it is imported"),
    ],
)
def test_a_broken_package_is_named_and_stops_nothing_else(tmp_path: Path, module: str, why: str) -> None:
    install(tmp_path, [("boxcam.methods", "bad", PACKAGE), ("boxcam.sources", "bad", PACKAGE)])
    (tmp_path / f"{PACKAGE}.py").write_text(module, encoding="utf-8")
    by = f"of the installed package {PACKAGE} 1.0 ({PACKAGE}) "
    advice = "Update that package, or uninstall it."
    code = "import boxcam; print(*boxcam.methods()); from boxcam.explain.methods import METHODS; METHODS['bad']"
    done = run(tmp_path, "-c", code)
    assert "gradcam hirescam" in done.stdout
    assert "bad" in done.stdout.split()
    assert f"PluginError: the method 'bad' {by}{why.format(kind='method')}" in done.stderr
    done = run(tmp_path, "-m", "boxcam.cli", "export", "none.onnx", "-o", "b")
    assert done.returncode == 1
    warning, error = done.stderr.splitlines()
    assert warning.startswith(f"boxcam: warning: the source 'bad' {by}{why.format(kind='source')}")
    assert warning.endswith(advice)
    assert error == "boxcam: none.onnx does not exist. Check the path."


def test_a_source_that_fails_is_named(tmp_path: Path) -> None:
    install(tmp_path, [("boxcam.sources", "bad", PACKAGE)])
    (tmp_path / f"{PACKAGE}.py").write_text(
        "from boxcam.export.source import SOURCES, Source\n"
        "SOURCES.register('bad')(Source('X', lambda arguments: arguments[3], lambda request, progress: 1 / 0))\n",
        encoding="utf-8",
    )
    done = run(tmp_path, "-m", "boxcam.cli", "export", "none.onnx", "-o", "b")
    warning, error = done.stderr.splitlines()
    assert "the source 'bad' of the installed package" in warning
    assert "fails to look at the model: IndexError: tuple index out of range" in warning
    assert error == "boxcam: none.onnx does not exist. Check the path."
    done = run(tmp_path, "-m", "boxcam.cli", "export", "none.onnx", "-o", "b", "--source", "bad")
    (error,) = done.stderr.splitlines()
    assert error.startswith("boxcam: the source 'bad' of the installed package")
    assert "fails: ZeroDivisionError: division by zero." in error


def test_a_name_of_boxcams_own_cannot_be_taken(tmp_path: Path) -> None:
    install(tmp_path, [("boxcam.methods", "gradcam", PACKAGE)])
    (tmp_path / f"{PACKAGE}.py").write_text("raise SystemExit(3)\n", encoding="utf-8")
    done = run(tmp_path, "-c", "import boxcam; print(boxcam.methods().count('gradcam'))")
    assert done.stdout == "1\n"
    assert f"the method 'gradcam' of the installed package {PACKAGE} 1.0 is left out: boxcam itself" in done.stderr


def test_what_is_installed_is_not_looked_for_as_long_as_boxcams_own_names_do(tmp_path: Path) -> None:
    install(tmp_path, [("boxcam.methods", "bad", PACKAGE)])
    (tmp_path / f"{PACKAGE}.py").write_text("raise SystemExit(3)\n", encoding="utf-8")
    code = (
        "import sys; from boxcam.cli import main; from boxcam.explain.methods import METHODS; METHODS['gradcam'];"
        "print('importlib.metadata' in sys.modules)"
    )
    assert run(tmp_path, "-c", code).stdout == "False\n"


@pytest.mark.parametrize("arguments", [["--help"], ["export", "--help"], ["nothing"]])
def test_a_broken_package_is_a_warning_line_in_the_help_too(arguments: list[str], tmp_path: Path) -> None:
    install(tmp_path, [("boxcam.commands", "bad", PACKAGE), ("boxcam.sources", "bad", PACKAGE)])
    (tmp_path / f"{PACKAGE}.py").write_text("import nothing_of_that_name\n", encoding="utf-8")
    done = run(tmp_path, "-m", "boxcam.cli", *arguments)
    lines = done.stderr.splitlines()
    kind = "source" if arguments[0] == "export" else "command"
    assert lines[0].startswith(f"boxcam: warning: the {kind} 'bad' of the installed package {PACKAGE} 1.0 (")
    assert not any("BoxcamWarning" in line or "warnings.warn" in line for line in lines)
    assert done.returncode == (2 if arguments == ["nothing"] else 0)


def test_a_package_that_was_imported_before_names_are_listed_is_no_rival_of_its_own(tmp_path: Path) -> None:
    """Also where the module that registers is not the one that the entry point names."""
    install(tmp_path, [("boxcam.methods", "mine", f"{PACKAGE}.method")])
    (tmp_path / PACKAGE).mkdir()
    (tmp_path / PACKAGE / "__init__.py").touch()
    (tmp_path / PACKAGE / "method.py").write_text(f"from {PACKAGE} import parts\n", encoding="utf-8")
    (tmp_path / PACKAGE / "parts.py").write_text(
        "from boxcam.explain.methods import METHODS, Method\n"
        "METHODS.register('mine')(Method(lambda activation, patches: []))\n",
        encoding="utf-8",
    )
    code = f"import {PACKAGE}.method, boxcam; print(boxcam.methods().count('mine'))"
    done = run(tmp_path, "-W", "error", "-c", code)
    assert (done.stdout, done.stderr) == ("1\n", "")
    code = f"import boxcam; boxcam.methods(); import {PACKAGE}.method; print(boxcam.methods().count('mine'))"
    done = run(tmp_path, "-W", "error", "-c", code)
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_a_name_that_another_module_took_is_told_with_that_module(tmp_path: Path) -> None:
    install(tmp_path, [("boxcam.methods", "mine", PACKAGE)])
    (tmp_path / f"{PACKAGE}.py").write_text("raise SystemExit(3)\n", encoding="utf-8")
    (tmp_path / "rival.py").write_text(
        "from boxcam.explain.methods import METHODS, Method\n"
        "METHODS.register('mine')(Method(lambda activation, patches: []))\n",
        encoding="utf-8",
    )
    done = run(tmp_path, "-c", "import rival, boxcam; print(boxcam.methods().count('mine'))")
    assert done.stdout == "1\n"
    assert f"'mine' of the installed package {PACKAGE} 1.0 is left out: the module rival has that name." in done.stderr
