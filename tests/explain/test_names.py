"""Names of results never collide, and replace nothing of the user's."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxcam.errors import OutputError
from boxcam.explain.names import choose_names
from tests.explain.made import EVEN, explanation


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ([], []),
        (["a.jpg", "b.png"], ["a", "b"]),
        (["x/a.jpg", "y/a.jpg", "a.png"], ["a", "a-2", "a-3"]),
        (["x/a.jpg", "y/a.jpg", "a-2.jpg"], ["a", "a-3", "a-2"]),
        (["a-2.jpg", "x/a.jpg", "y/a.jpg", "z/a-2.jpg"], ["a-2", "a", "a-3", "a-2-2"]),
        (["a.b.jpg", "a.jpg"], ["a.b", "a"]),
    ],
)
def test_names_never_collide(images: list[str], expected: list[str], tmp_path: Path) -> None:
    assert choose_names([Path(image) for image in images], tmp_path) == expected


def test_results_never_replace_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for image in ("a.png", "b.jpg"):
        (tmp_path / image).touch()
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert choose_names([Path("b.jpg")], tmp_path) == ["b"]  # b.png, b.npz and b.json are nobody's
    for folder in (tmp_path, Path("."), tmp_path / "link"):
        with pytest.raises(OutputError, match=r"would replace the image a\.png\. Choose another folder\."):
            choose_names([Path("b.jpg"), Path("a.png")], folder)


@pytest.mark.parametrize("end", [".png", ".npz", ".json"])
@pytest.mark.parametrize("facts", [None, b"{}", b"[1]", b"\xff\xfe", b'{"box', b"[" * 100_000])
def test_results_never_replace_a_file_of_the_users(end: str, facts: bytes | None, tmp_path: Path) -> None:
    if facts is not None:
        (tmp_path / "a.json").write_bytes(facts)
    if end != ".json" or facts is None:
        (tmp_path / f"a{end}").write_text("mine")
    first = "json" if facts is not None else end[1:]
    with pytest.raises(
        OutputError, match=rf"would replace .*a\.{first}, which boxcam did not write .* choose another folder\.$"
    ):
        choose_names([Path("elsewhere/a.jpg")], tmp_path)
    assert choose_names([Path("elsewhere/b.jpg")], tmp_path) == ["b"]


def test_results_replace_earlier_results(tmp_path: Path) -> None:
    explanation(EVEN).save(tmp_path, "a")
    assert choose_names([Path("elsewhere/a.jpg")], tmp_path) == ["a"]
    (tmp_path / "a.png").unlink()
    assert choose_names([Path("elsewhere/a.jpg")], tmp_path) == ["a"]
