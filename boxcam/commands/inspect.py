"""`boxcam inspect`."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from boxcam.bundle import SampleResult
from boxcam.commands.console import message_line, one_line, say
from boxcam.commands.headings import Command
from boxcam.commands.limits import LIMITS, limited
from boxcam.commands.options import PATH, Shape, accept_option, common, needs_exporter, reading_options
from boxcam.commands.progress import report_steps


@click.command(cls=Command)
@click.argument("path", type=PATH, metavar="BUNDLE|MODEL.onnx")
@common("--json", "as_json", is_flag=True, help="Print it as JSON.")
@common("--all", "everything", is_flag=True, help="ONNX files: list all layers.")
@common("--shape", type=Shape(), help="ONNX files: size of the model's input, if it is dynamic.")
@common(
    "--sample",
    type=PATH,
    metavar="IMAGE",
    help="Image to run it on, whose boxes are printed. [default: of ONNX files synthetic images, of bundles none]",
)
@limited
@reading_options()
@accept_option()
def inspect(
    path: str,
    as_json: bool,
    everything: bool,
    shape: tuple[int, int] | None,
    sample: str | None,
    accept: tuple[str, ...],
    **options: Any,
) -> None:
    """Show what is in a bundle, or in an ONNX file to export.

    Of a bundle: source, labels, preprocessing, layers, what was proved of it and what is believed. Of an ONNX file:
    what was recognised in it, what it finds, the `boxcam export` line to run, and the layers to choose from.

    \b
    Examples:
      boxcam inspect retinanet.boxcam
      boxcam inspect yolo.onnx
      boxcam inspect model.onnx --scores cls --boxes box --box-format cxcywh
    """
    if Path(path).suffix.lower() == ".onnx" and not os.path.isdir(path):
        _inspect_file(path, as_json, everything, shape, sample, {**options, "accept": accept})
        return
    from boxcam import bundle as bundles
    from boxcam.inspection import check_bundle

    check_bundle(path)
    manifest = bundles.read(path)
    _refuse_options_of_files(path)
    found = manifest.sample if sample is None else _sample_of(path, sample)
    if as_json:
        say(json.dumps(asdict(replace(manifest, sample=found)), indent=2, ensure_ascii=False))
        return
    from boxcam.explain.defaults import default_of
    from boxcam.inspection import believed, found_line, lines

    for line in lines(path, manifest):
        say(one_line(line))
    default = default_of(manifest)
    say(f"\n{'default':<16}method {default.method}, as {default.reason}\n")
    for line in believed(manifest.plausibility, manifest.sample):
        say(one_line(message_line(line)))
    if found is not None:
        say(one_line(f"{'found':<16}{found_line(found, manifest.outputs.whole_image)}"))


def _refuse_options_of_files(path: str) -> None:
    """Refuse options that tell how an ONNX file is to be read: a bundle has been read already.

    Raises:
        click.UsageError: one was given.
    """
    ctx = click.get_current_context()
    of_bundles = {"path", "as_json", "sample", *LIMITS}
    for option in ctx.command.params:
        given = ctx.get_parameter_source(option.name or "") is not ParameterSource.DEFAULT
        if given and option.name not in of_bundles:
            raise click.UsageError(f"{option.opts[-1]} is for ONNX files, and {path} is a bundle. Leave it out.", ctx)


def _sample_of(path: str, sample: str) -> SampleResult:
    """What a bundle finds on an image."""
    from boxcam import load
    from boxcam.inspection import sample_result
    from boxcam.runtime.planes import read_planes

    model = load(path)
    image = read_planes(sample, model.manifest.preprocess.channels)
    found = model.detect(image)
    return sample_result(
        Path(sample).name, (image.shape[0], image.shape[1]), found.names, found.scores.tolist(), found.boxes.tolist()
    )


def _inspect_file(
    path: str,
    as_json: bool,
    everything: bool,
    shape: tuple[int, int] | None,
    sample: str | None,
    options: dict[str, Any],
) -> None:
    accept = options.pop("accept")
    called = "the sample" if sample is None else Path(sample).name
    with needs_exporter((path,), "onnx", "inspecting an ONNX file"), report_steps(as_json) as step:
        from boxcam.export.inspect import lines, survey
        from boxcam.export.source import Request
        from boxcam.runtime.planes import read_colors

        pixels = None if sample is None else read_colors(sample)
        request = Request((path,), shape, sample=pixels, sample_file=sample, sample_name=called, **options)
        found = survey(request, step, sample=sample, everything=everything, accept=accept)
    if as_json:
        say(json.dumps(asdict(found), indent=2, ensure_ascii=False))
        return
    for line in lines(found):
        say(one_line(line) if found.command and found.command in line else message_line(one_line(line)))
