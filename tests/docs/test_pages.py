"""What README and docs say is so: figures are measured, options exist, generated pages are those of today's code."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from click.testing import CliRunner

import boxcam
from boxcam.cli import main
from tests.docs.pages import PAGES, ROOT, matches, text_of
from tests.examples.truth import measure

FOREIGN = {"--fixture", "--index-url", "--extra-index-url", "--saved-model", "--opset", "--raw"}
"""Options of other programs that the pages name."""


def script(name: str) -> ModuleType:
    """A script of the documentation, as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_figures_of_the_demo_are_measured(signs: Path, signs_model: boxcam.Model) -> None:
    """Means over the demo's signs; `tests/examples/test_demo_truth.py` prints them."""
    found = re.search(
        r"where a uniform map would have (\d\.\d\d), is (\d\.\d\d) for Grad-CAM and (\d\.\d\d) for HiResCAM at the"
        r" neck\. At the backbone,.*? HiResCAM has (\d\.\d\d), and Grad-CAM is no better than a uniform map",
        " ".join(text_of("docs/choosing.md").split()),
    )
    assert found is not None
    uniform, gradcam, hirescam, backbone = map(float, found.groups())
    neck = measure(signs, signs_model, "gradcam", "neck")
    assert (neck.even, neck.inside) == pytest.approx((uniform, gradcam), abs=0.02)
    assert measure(signs, signs_model, "hirescam", "neck").inside == pytest.approx(hirescam, abs=0.02)
    assert measure(signs, signs_model, "hirescam", "backbone").inside == pytest.approx(backbone, abs=0.02)
    assert measure(signs, signs_model, "gradcam", "backbone").inside == pytest.approx(uniform, abs=0.02)


def test_the_cost_is_that_of_the_benchmark() -> None:
    """The least and the largest share of the forward pass, of a hundred boxes on an 800x800 picture, by the default."""
    table = text_of("docs/performance.md")
    rows = re.findall(r"^\|.*800x800, (?:neck|backbone|roi).*boxcam, HiResCAM .*$", table, re.MULTILINE)
    cells = [row.split("|")[5] for row in rows]  # after layer, method, 1 box and 10 boxes
    shares = [float(share) for share in re.findall(r"\(([\d.]+)%\)", " ".join(cells))]
    assert len(shares) >= 3
    for page in ("README.md", "docs/index.md"):
        said = re.search(r"add(?:s|) (\d+) to (\d+) %", " ".join(text_of(page).split()))
        assert said is not None, page
        assert (round(min(shares)), round(max(shares))) == (int(said[1]), int(said[2]))


def test_the_reference_of_the_command_line_is_up_to_date() -> None:
    """Otherwise run ``python scripts/docs_cli.py``."""
    assert text_of("docs/cli.md") == script("docs_cli").markdown()


def test_every_method_is_told_of_where_one_chooses() -> None:
    table = [
        line for line in Path("docs/choosing.md").read_text(encoding="utf-8").splitlines() if line.startswith("| `")
    ]
    told = {name for line in table for name in re.findall(r"`([\w+-]+)`", line.split(" | ")[0])}
    assert set(boxcam.methods()) <= told


def test_every_option_that_is_named_exists() -> None:
    helps = "".join(CliRunner().invoke(main, [name, "--help"]).output for name in main.commands)
    for page in PAGES:
        prose = re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)
        for option in set(re.findall(r"`(--[a-z][a-z-]+)", prose)) - FOREIGN:
            assert option in helps or option == "--help", f"{page}: {option}"


def test_every_page_can_be_found() -> None:
    """By the site's navigation: mkdocs itself only tells of those that it misses."""
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").replace("!!python/name:", "")
    listed = re.findall(r"[\w/-]+\.md", str(yaml.safe_load(settings)["nav"]))
    assert sorted(f"docs/{page}" for page in listed) == sorted(page for page in PAGES if page != "README.md")


def test_a_page_that_loads_something_from_elsewhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(
        '<img src="pictures/a.png"><a href="https://host.example/">a link to follow</a>'
    )
    assert script("docs_check").outside(tmp_path) == []
    (tmp_path / "page.html").write_text(
        '<script src="https://host.example/a.js"></script><link href="//host.example/a">'
    )
    (tmp_path / "style.css").write_text("@font-face { src: url(https://host.example/font.woff) }")
    assert [line.split(": ", 1)[1] for line in script("docs_check").outside(tmp_path)] == [
        "https://host.example/a.js",
        "//host.example/a",
        "https://host.example/font.woff",
    ]


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("5 boxes", "5 boxes\n", True),
        ("5 boxes", "5 boxes and more\n", False),
        ("wrote a in … s", "wrote a in 12 s\n", True),
        ("wrote a in … s", "wrote a in 12\ns\n", False),
        ("first\n…\nlast", "first\n1\n2\nlast\n", True),
        ("first\n…\nlast", "first\nlast\n", True),
        ("first\n…\nlast", "first\n1\n", False),
    ],
)
def test_what_is_shown_is_compared(shown: str, printed: str, same: bool) -> None:
    assert matches(shown, printed) is same
