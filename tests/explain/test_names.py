"""Names of results never collide, and replace nothing of the user's."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxcam.errors import OutputError
from boxcam.explain.names import check_is_folder, choose_names, is_name
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
@pytest.mark.parametrize(
    "facts",
    [
        *(None, b"{}", b"[1]", b"\xff\xfe", b'{"box', b"[" * 100_000),
        *(b'{"boxcam": "1"}', b'{"detections": []}', b'["boxcam", "detections"]', b'"boxcam detections"'),
    ],
)
def test_results_never_replace_a_file_of_the_users(end: str, facts: bytes | None, tmp_path: Path) -> None:
    if facts is not None:
        (tmp_path / "a.json").write_bytes(facts)
    if end != ".json" or facts is None:
        (tmp_path / f"a{end}").write_text("mine")
    first = "json" if facts is not None else end[1:]
    why = "" if first == "json" else r": there is no a\.json of its results next to it"  # not: next to itself
    message = (
        rf"would replace .*a\.{first}, which boxcam did not write{why}\. Move it away, or choose another folder\.$"
    )
    with pytest.raises(OutputError, match=message):
        choose_names([Path("elsewhere/a.jpg")], tmp_path)
    assert choose_names([Path("elsewhere/b.jpg")], tmp_path) == ["b"]


def test_results_replace_earlier_results(tmp_path: Path) -> None:
    explanation(EVEN).save(tmp_path, "a")
    assert choose_names([Path("elsewhere/a.jpg")], tmp_path) == ["a"]
    (tmp_path / "a.png").unlink()
    assert choose_names([Path("elsewhere/a.jpg")], tmp_path) == ["a"]


@pytest.mark.parametrize("name", ["x.png", "x.JPG", "out/x.npz", "x.json", "x.pdf"])
def test_a_folder_is_not_called_like_a_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"x\.\w+ has the name of a file, .* a folder\. Pass another folder"):
        check_is_folder(tmp_path / name)
    (tmp_path / name).mkdir(parents=True)
    check_is_folder(tmp_path / name)  # it is one, whatever it is called


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        *(("a", True), ("a.b", True), (".a", True), ("a b", True), ("...", True)),
        *(("", False), (".", False), ("..", False), ("a/b", False), ("/a", False), ("a/", False), ("../a", False)),
        *(("a\0b", False), (None, False), (3, False), (b"a", False), (Path("a"), False)),
    ],
)
def test_a_name_is_a_word_that_leads_to_no_other_folder(given: object, expected: bool) -> None:
    assert is_name(given) is expected


@pytest.mark.parametrize("name", ["out", "run.1", "v1.2.boxcam-maps", ".png", "a/b"])
def test_any_other_name_of_a_folder_will_do(name: str, tmp_path: Path) -> None:
    check_is_folder(tmp_path / name)
    assert not (tmp_path / name).exists()
