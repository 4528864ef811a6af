"""`boxcam demo`."""

from __future__ import annotations

import filecmp
import importlib.util
import os
import shlex
import shutil
from pathlib import Path

import click

from boxcam.commands.console import say
from boxcam.commands.explain import explain
from boxcam.commands.headings import Command
from boxcam.commands.options import PATH, common
from boxcam.errors import BoxcamError, OutputError
from boxcam.leftovers import file_aside, sweep
from boxcam.plurals import counted

DATA = Path(__file__).parents[1] / "demo"
"""The demo's bundle and pictures, as they lie in the package."""

BUNDLE, IMAGES = "signs.boxcam", "images"
"""What they are called in the folder that the demo writes."""

FIRST = "street.png"
"""The sheet to look at first, which the documentation names too."""


@click.command(cls=Command, epilog="Exit codes: 0 done, 1 failed, 2 wrong usage.")
@common("-o", "--output", default="boxcam-demo", show_default=True, type=PATH, help="Folder to write to.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors and warnings.")
@click.pass_context
def demo(ctx: click.Context, output: str, quiet: bool) -> None:
    """See heatmaps now, of a model that comes with boxcam.

    A small detector of traffic signs is explained on three pictures; nothing is downloaded. The folder gets the bundle
    (signs.boxcam), the pictures (images), and for each picture a sheet of heatmaps (.png), the raw maps (.npz) and the
    facts (.json). A file there that is not the demo's is left alone.

    \b
    Examples:
      boxcam demo
      boxcam demo -o out
    """
    folder = Path(output)
    bundle, images = unpack(folder)
    if not quiet:
        say(f"{bundle}: a small detector of traffic signs, as 'boxcam export' made it")
        say(f"{images}: {counted(len(list(images.glob('*.jpg'))), 'picture')} that it was not trained with")
        say(f"\n$ {_line('explain', bundle, images, '-o', folder)}")
    ctx.invoke(explain, bundle=str(bundle), inputs=(str(images),), output=output, quiet=quiet)
    if not quiet:
        for line in _what_next(folder, bundle, images):
            say(line)


def unpack(folder: Path) -> tuple[Path, Path]:
    """Copy the demo's bundle and pictures out of the package; those that are there already stay.

    Args:
        folder: where to; it is made.

    Returns:
        The bundle and the folder of pictures.

    Raises:
        OutputError: another file is in the way (nothing is copied then), or the folder cannot be written.
        BoxcamError: the package has lost its demo.
    """
    parts = {DATA / "signs": folder / BUNDLE, DATA / "images": folder / IMAGES}
    files = {
        file: to / file.relative_to(part)
        for part, to in parts.items()
        for file in sorted(part.rglob("*"))
        if file.is_file()
    }
    from boxcam.explain.files import make_folder
    from boxcam.explain.names import check_is_folder

    if not files:
        raise BoxcamError(f"the demo's files are not in {DATA}. Install boxcam again.")
    check_is_folder(folder)
    make_folder(folder)
    for to in files.values():
        sweep(to.parent, to.name)  # what a killed run left in a bundle would make it another bundle
    try:
        wanted = {file: to for file, to in files.items() if not _is_there(file, to)}
        for file, to in wanted.items():
            to.parent.mkdir(parents=True, exist_ok=True)
            _copy(file, to)
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {error.strerror}. Choose another folder.") from error
    return folder / BUNDLE, folder / IMAGES


def _is_there(file: Path, to: Path) -> bool:
    """Whether a file has been copied before.

    Raises:
        OutputError: something else is in its place.
    """
    if not os.path.lexists(to):
        return False
    if not to.is_file() or not filecmp.cmp(file, to, shallow=False):
        raise OutputError(
            f"{to} is in the way: it is not the file of that name from the demo of this boxcam, and is left alone."
            " Move it away, or choose another folder."
        )
    return True


def _copy(file: Path, to: Path) -> None:
    """Copy a file so that there is all of it or nothing."""
    with file.open("rb") as source, file_aside(to, to.name) as copy:
        shutil.copyfileobj(source, copy)


def _what_next(folder: Path, bundle: Path, images: Path) -> list[str]:
    """What to look at, and commands to try."""
    missing = [name for name in ("onnx", "onnx_ir") if importlib.util.find_spec(name) is None]
    install = ", with boxcam's 'onnx' extra installed" if missing else ""
    return [
        "",
        f"Look at {folder / FIRST} first. One box in {folder / 'houses.png'} is a mistake: its heatmap shows what",
        "the detector took for a pedestrian crossing.",
        "",
        "Then try",
        f"  {_line('inspect', bundle)}",
        f"  {_line('explain', bundle, images / 'street.jpg', '-o', folder / 'gradcam', '--method', 'gradcam')}",
        f"and with a detector of your own{install}:",
        "  boxcam inspect model.onnx",
        "which says what can be explained in it, and the export line to run.",
    ]


def _line(*arguments: str | Path) -> str:
    """A command as it is typed."""
    return shlex.join(["boxcam", *map(str, arguments)])
