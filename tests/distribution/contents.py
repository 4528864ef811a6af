"""What lies in a wheel and an sdist:  ``python contents.py WHEEL SDIST``, from the root of the checkout."""

from __future__ import annotations

import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

PACKAGE = Path("boxcam")
LARGEST = {"wheel": 5_000_000, "sdist": 20_000_000}
"""Bytes; of an sdist's, the trained detectors in examples/ are half, 8 MB at most by a test of their own."""


def package_files() -> dict[str, bytes]:
    """What a wheel has to have, by path."""
    found = [f for f in PACKAGE.rglob("*") if f.is_file() and "__pycache__" not in f.parts]
    return {file.as_posix(): file.read_bytes() for file in found}


def check_wheel(wheel: Path) -> None:
    """The package file by file, its licence, its command, and metadata that say what pyproject.toml does."""
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        inside = {name: archive.read(name) for name in archive.namelist()}
    own = {name: content for name, content in inside.items() if not name.split("/")[0].endswith(".dist-info")}
    expected = package_files()
    assert own.keys() == expected.keys(), f"only here or only there: {sorted(own.keys() ^ expected.keys())}"
    assert [name for name in own if own[name] != expected[name]] == []
    for needed in ("boxcam/py.typed", "boxcam/demo/signs/weights.bin", "boxcam/demo/images/cat.jpg"):
        assert needed in own
    (folder,) = {name.split("/")[0] for name in inside.keys() - own.keys()}
    assert inside[f"{folder}/licenses/LICENSE"] == Path("LICENSE").read_bytes()
    assert inside[f"{folder}/entry_points.txt"].decode() == "[console_scripts]\nboxcam = boxcam.__main__:main\n"
    check_metadata(Parser().parsestr(inside[f"{folder}/METADATA"].decode()))


def check_metadata(metadata: Message) -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    said = {name: metadata[name] for name in ("Name", "Summary", "License-Expression", "Requires-Python")}
    assert said == {
        "Name": project["name"],
        "Summary": project["description"],
        "License-Expression": project["license"],
        "Requires-Python": project["requires-python"],
    }
    assert metadata.get_all("Classifier") == project["classifiers"]
    assert set(metadata.get_all("Provides-Extra", [])) == set(project["optional-dependencies"])
    assert metadata.get_payload() == Path("README.md").read_text(encoding="utf-8")
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert len(needed) == len(project["dependencies"])
    assert not [line for line in needed if "torch" in line]


def check_sdist(sdist: Path) -> None:
    """All that the tests and `make` need, and nothing that was made here."""
    with tarfile.open(sdist) as archive:
        names = archive.getnames()
    (root,) = {name.split("/")[0] for name in names}
    inside = {name.removeprefix(f"{root}/") for name in names}
    made = ("__pycache__", ".venv", ".build", ".pyc", "examples/signs/data")
    assert [name for name in inside if any(part in name for part in made)] == []
    needed = ["Makefile", "README.md", "LICENSE", "SECURITY.md", "CITATION.cff", "scripts/dist", "requirements/all.txt"]
    needed += ["tests/test_demo.py", "examples/signs/signs.pth", "docs/overlay.jpg", *package_files()]
    assert [name for name in needed if name not in inside] == []


if __name__ == "__main__":
    given = dict(zip(LARGEST, map(Path, sys.argv[1:]), strict=True))
    for kind, largest in LARGEST.items():
        assert given[kind].stat().st_size < largest, f"{given[kind]} has more than {largest} bytes"
    check_wheel(given["wheel"])
    check_sdist(given["sdist"])
    sys.stdout.write(f"{len(package_files())} files of the package, metadata, licence; {given['sdist'].name}\n")
