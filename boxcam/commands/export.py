"""`boxcam export`."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import click

from boxcam.bundle import TARGETS
from boxcam.commands.console import report_steps, say
from boxcam.commands.headings import Command, Option
from boxcam.commands.options import Name, Shape, common, needs_exporter, reading_options
from boxcam.runtime.engines import ENGINES

_boxes = partial(click.option, cls=Option, heading="Which boxes")
_gradients = partial(click.option, cls=Option, heading="What can be explained, and how")


@click.command(cls=Command, epilog="Exit codes: 0 done, 1 failed, 2 wrong usage.")
@click.argument("model", nargs=-1, required=True)
@common("-o", "--output", type=click.Path(), help="The bundle to write. [default: MODEL's name + .boxcam]")
@common("--sample", type=click.Path(), metavar="IMAGE", help="Picture to verify with. [default: drawn ones]")
@common(
    "--layer",
    "layers",
    multiple=True,
    metavar="NAME",
    help="backbone, neck, roi, image or a tensor's name; repeatable. [default: the model's own]",
)
@common(
    "--shape",
    type=Shape(),
    help="Size of the model's input. [default: the model's own; where that is dynamic, each picture's]",
)
@_boxes("--score-threshold", type=click.FloatRange(0, 1), help="Lowest score of a box. [default: the model's own]")
@_boxes(
    "--nms-threshold", "--nms", type=click.FloatRange(0, 1), help="IoU at which boxes merge. [default: the model's own]"
)
@_gradients(
    "--target",
    "targets",
    multiple=True,
    type=Name("target", lambda: (*TARGETS, "all")),
    default=["logit"],
    show_default=True,
    help="What of a box can be explained: its class logit, its score as reported, a side; repeatable.",
)
@_gradients(
    "--engine",
    type=Name("engine", lambda: ("auto", *ENGINES, "both")),
    default="auto",
    show_default=True,
    help="Gradients to build; each of two is the other's check. auto: both where torch has the operators.",
)
@reading_options()
@click.option(
    "--source",
    metavar="KIND",
    help="What MODEL is: onnx, torchvision, mmdet or mmyolo. [default: found out from MODEL]",
)
@click.option("--overwrite", is_flag=True, help="Replace a bundle that is there.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors and warnings.")
def export(
    model: tuple[str, ...],
    output: str | None,
    source: str | None,
    layers: tuple[str, ...],
    shape: tuple[int, int] | None,
    score_threshold: float | None,
    nms_threshold: float | None,
    sample: str | None,
    engine: str,
    targets: tuple[str, ...],
    overwrite: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Make a bundle out of a trained detector or classifier.

    MODEL is one of

    \b
      MODEL.onnx                    an ONNX file of any framework; `boxcam inspect` tells what it needs
      torchvision:NAME WEIGHTS.pth  a model of torchvision by name, and its state dict
      CONFIG.py CHECKPOINT.pth      a config of mmdet or mmyolo, and its checkpoint

    It takes half a minute to two, and ends by verifying the bundle.

    \b
    Examples:
      boxcam export yolo.onnx --preprocess yolo --sample street.jpg
      boxcam export torchvision:fasterrcnn_resnet50_fpn weights.pth --sample street.jpg
      boxcam export torchvision:resnet50 weights.pth --layer layer4 --class-names names.txt
      boxcam export retinanet.py retinanet.pth -o retinanet.boxcam
      boxcam export faster-rcnn.py epoch_12.pth --layer roi --layer neck --shape 800x1344
      boxcam export retinanet.py retinanet.pth --layer backbone.2 --sample street.jpg
      boxcam export retinanet.py retinanet.pth --engine onnx
    """
    with needs_exporter(_extra(model, source)):
        from boxcam.export.pipeline import export as run

        target = Path(output) if output else Path(Path(model[0].removeprefix("torchvision:")).stem + ".boxcam")
        began = time.monotonic()
        manifest = run(
            *model,
            output=target,
            source=source,
            layers=layers,
            shape=shape,
            score_threshold=score_threshold,
            nms_threshold=nms_threshold,
            sample=sample,
            engine=engine,
            targets=targets,
            overwrite=overwrite,
            progress=report_steps(quiet),
            **options,
        )
    if not quiet:
        say(f"verified: {len(manifest.verification)} checks passed; 'boxcam inspect' has their figures")
        names = ", ".join(layer.name for layer in manifest.layers)
        say(f"wrote {target} in {time.monotonic() - began:.0f} s (layers: {names})")


def _extra(model: tuple[str, ...], source: str | None) -> str:
    """Which of boxcam's extras has what an export of a model needs; nothing but names can be looked at yet."""
    if source is not None:
        return "export" if source in ("onnx", "torchvision") else "mmdet"
    return "export" if model[0].lower().endswith(".onnx") or model[0].startswith("torchvision:") else "mmdet"
