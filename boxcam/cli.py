"""The command line: thin, and errors of ours become one line."""

from __future__ import annotations

import contextlib
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from boxcam._version import __version__
from boxcam.bundle import TARGETS
from boxcam.commands.headings import COMMON, Command, Option
from boxcam.commands.options import reading_options
from boxcam.errors import BoxcamError, BoxcamWarning, BundleError, InputError, OutputError, RunError
from boxcam.explain.methods import METHODS
from boxcam.runtime.engines import ENGINES
from boxcam.runtime.failures import reason
from boxcam.runtime.sessions import DEVICES

if TYPE_CHECKING:
    from boxcam.explain.explainer import Explanation

_LARGEST = 16384
_EXPORTERS = ("onnx", "onnx_ir", "onnxruntime", "onnxscript", "torch", "torchvision", "yaml")
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _Commands(click.Group):
    """Turns boxcam's errors, and ONNX Runtime's, into one line and exit code 1, and its warnings into one line each."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _warnings_as_lines():
                return super().invoke(ctx)
        except BoxcamError as error:
            _say(_error(error), err=True)
            ctx.exit(1)
        except Exception as error:
            if not type(error).__module__.startswith("onnxruntime."):
                raise
            _say(f"boxcam: onnxruntime failed: {reason(error)}. Please report it with the model.", err=True)
            ctx.exit(1)


class _Shape(click.ParamType[tuple[int, int]]):
    name = "HxW"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return self.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        parts = str(value).lower().split("x")
        if len(parts) != 2 or not all(part.isdecimal() and 0 < int(part) <= _LARGEST for part in parts):
            self.fail(f"{value!r} is not a height and a width, up to {_LARGEST}, such as 800x1344.", param, ctx)
        return int(parts[0]), int(parts[1])


@click.group(cls=_Commands, context_settings=_CONTEXT)
@click.version_option(__version__, prog_name="boxcam")
def main() -> None:
    """Why did a deployed detector draw this box?

    `export` takes a detector out of its training code, once; `explain` then draws a heatmap for each box, without it.
    """


_common = partial(click.option, cls=Option, heading=COMMON)
_boxes = partial(click.option, cls=Option, heading="Which boxes")
_gradients = partial(click.option, cls=Option, heading="What can be explained, and how")
_device = partial(click.option, cls=Option, heading="What it runs on")


@main.command(cls=Command, epilog="Exit codes: 0 done, 1 failed, 2 wrong usage.")
@click.argument("model", nargs=-1, required=True)
@_common("-o", "--output", type=click.Path(), help="The bundle to write. [default: MODEL's name + .boxcam]")
@_common("--sample", type=click.Path(), metavar="IMAGE", help="Picture to verify with. [default: drawn ones]")
@_common(
    "--layer",
    "layers",
    multiple=True,
    metavar="NAME",
    help="backbone, neck, roi, image or a tensor's name; repeatable. [default: the model's own]",
)
@_common(
    "--shape",
    type=_Shape(),
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
    type=click.Choice([*TARGETS, "all"]),
    default=["logit"],
    show_default=True,
    help="What of a box can be explained: its class logit, its score as reported, a side; repeatable.",
)
@_gradients(
    "--engine",
    type=click.Choice(["auto", *ENGINES, "both"]),
    default="auto",
    show_default=True,
    help="Gradients to build; each of two is the other's check. auto: both where torch has the operators.",
)
@reading_options(_Shape())
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
    with _needs_exporter(_extra(model, source)):
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
            progress=_steps(quiet),
            **options,
        )
    if not quiet:
        _say(f"verified: {len(manifest.verification)} checks passed; 'boxcam inspect' has their figures")
        names = ", ".join(layer.name for layer in manifest.layers)
        _say(f"wrote {target} in {time.monotonic() - began:.0f} s (layers: {names})")


@main.command(
    cls=Command,
    epilog="Exit codes: 0 done (also if there is no box), 1 an input, a result or the bundle failed, 2 wrong usage.",
)
@click.argument("bundle", type=click.Path())
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@_common("-o", "--output", default="explanations", show_default=True, type=click.Path(), help="Folder to write to.")
@_common("--method", type=click.Choice(METHODS.names()), default="gradcam", show_default=True, help="CAM method.")
@_common("--layer", metavar="NAME", help="Layer to look at; see `boxcam inspect`. [default: the bundle's first]")
@_common(
    "--target", type=click.Choice(TARGETS), help="What of a box to explain. [default: the bundle's first, the logit]"
)
@_boxes(
    "--score",
    type=click.FloatRange(0, 1),
    help="Lowest score of a box. [default: 0.3; 0 with --rank, and with --class of a classifier]",
)
@_boxes("--top", type=click.IntRange(1), help="At most so many boxes an image. [default: 10; all with --rank]")
@_boxes(
    "--class", "classes", multiple=True, metavar="NAME", help="Only boxes of this class, by name or number; repeatable."
)
@_boxes(
    "--rank",
    "ranks",
    multiple=True,
    type=click.IntRange(1),
    metavar="N",
    help="Only this box, counted from the best one, which is 1 (with --class: the best of these); repeatable.",
)
@_device(
    "--device", type=click.Choice([*DEVICES]), default="cpu", show_default=True, help="What runs model and gradient."
)
@_device(
    "--provider",
    "providers",
    multiple=True,
    metavar="NAME",
    help="ONNX Runtime's execution provider to use instead of the device's; repeatable, the preferred one first.",
)
@_device("--threads", type=click.IntRange(0), default=0, help="CPU threads. [default: all cores]")
@_device("--engine", type=click.Choice(["auto", *ENGINES]), default="auto", show_default=True, help="Gradient engine.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors and warnings.")
def explain(
    bundle: str,
    inputs: tuple[str, ...],
    output: str,
    method: str,
    layer: str | None,
    target: str | None,
    engine: str,
    score: float | None,
    top: int | None,
    classes: tuple[str, ...],
    ranks: tuple[int, ...],
    device: str,
    providers: tuple[str, ...],
    threads: int,
    quiet: bool,
) -> None:
    """Draw a heatmap for each box that a bundle's detector finds.

    INPUT is images, folders or patterns. Each image gives an overlay sheet (.png), the raw maps (.npz, float32
    [K, height, width]) and the facts (.json).

    \b
    Examples:
      boxcam explain retinanet.boxcam street.jpg -o out
      boxcam explain retinanet.boxcam photos/ 'more/**/*.png' --method hirescam --class car --top 3
      boxcam explain faster-rcnn.boxcam street.jpg --layer roi --score 0.5
      boxcam explain resnet50.boxcam cat.jpg --class 'tiger cat' --class tabby
      boxcam explain resnet50.boxcam cat.jpg --rank 1 --rank 2
    """
    import boxcam
    from boxcam.explain.explainer import Plan, class_indices, lowest_score
    from boxcam.explain.results import make_folder, names, save
    from boxcam.runtime.images import find_images

    try:
        model = boxcam.load(bundle, threads=threads, device=device, providers=providers)
    except BundleError:
        from boxcam.inspection import check_bundle

        check_bundle(bundle)
        raise
    Plan(model, method, layer, target, engine).open()
    class_indices(model, classes or None)
    score = lowest_score(model, score, classes or None, ranks or None)
    top = 10 if top is None and not ranks else top
    missing: list[InputError] = []
    files = find_images(inputs, missing)
    broken: list[BoxcamError] = [*missing]
    try:
        named = names(files, Path(output))
        folder = make_folder(output) if files else Path(output)
        for number, (file, name) in enumerate(zip(files, named, strict=True), 1):
            with _bar(f"[{number}/{len(files)}] {file.name}", quiet) as boxes_done:
                try:
                    explanation = boxcam.explain(
                        model, file, method=method, layer=layer, target=target, engine=engine, score=score, top=top,
                        classes=classes or None, ranks=ranks or None, progress=boxes_done,
                    )  # fmt: skip
                    facts = {
                        "score_threshold": score, "top": top, "classes": list(classes), "ranks": list(ranks),
                        "device": device,
                    }  # fmt: skip
                    save(explanation, folder, name, str(file), model.path.name, facts)
                except (InputError, OutputError) as error:
                    broken.append(error)
                    continue
                except RunError as error:
                    broken.append(RunError(f"{file}: {error}"))
                    continue
            if not quiet:
                classifier = model.manifest.outputs.whole_image
                _say(f"{file.name}: {_summary(explanation, score, classes, ranks, top, classifier)}")
        if files and not quiet:
            asked = len(files) + len(missing)
            _say(f"wrote {asked - len(broken)} of {asked} explanations to {folder}")
    finally:
        for failure in broken:
            _say(_error(failure), err=True)
    if broken:
        raise click.exceptions.Exit(1)


@main.command(cls=Command)
@click.argument("path", type=click.Path(), metavar="BUNDLE|MODEL.onnx")
@_common("--json", "as_json", is_flag=True, help="Print it as JSON.")
@_common("--all", "everything", is_flag=True, help="ONNX files: list all layers.")
@_common("--shape", type=_Shape(), help="ONNX files: size of the model's input, if it is open.")
@_common("--sample", type=click.Path(), metavar="IMAGE", help="ONNX files: picture to run it on. [default: drawn ones]")
@reading_options(_Shape())
def inspect(
    path: str,
    as_json: bool,
    everything: bool,
    shape: tuple[int, int] | None,
    sample: str | None,
    **options: Any,
) -> None:
    """Show what a bundle holds, or what can be explained in an ONNX file.

    Of a bundle: source, labels, preprocessing, layers, verification. Of an ONNX file: its input, the scores and boxes
    that are found, the layers to choose from, and the `boxcam export` line to run.

    \b
    Examples:
      boxcam inspect retinanet.boxcam
      boxcam inspect yolo.onnx
      boxcam inspect model.onnx --scores cls --boxes box --box-format cxcywh
    """
    if Path(path).suffix.lower() == ".onnx" and not Path(path).is_dir():
        _inspect_file(path, as_json, everything, shape, sample, options)
        return
    from boxcam import bundle as bundles
    from boxcam.inspection import check_bundle

    check_bundle(path)
    manifest = bundles.read(path)
    if as_json:
        _say(json.dumps(asdict(manifest), indent=2, ensure_ascii=False))
        return
    from boxcam.inspection import lines

    for line in lines(path, manifest):
        _say(line)


def _inspect_file(
    path: str,
    as_json: bool,
    everything: bool,
    shape: tuple[int, int] | None,
    sample: str | None,
    options: dict[str, Any],
) -> None:
    with _needs_exporter("export"):
        from boxcam.export.inspect import lines, survey
        from boxcam.export.source import Request
        from boxcam.runtime.images import read_image

        pixels = None if sample is None else read_image(sample)
        request = Request((path,), shape, sample=pixels, **options)
        found = survey(request, _steps(as_json), sample=sample, everything=everything)
    if as_json:
        _say(json.dumps(asdict(found), indent=2, ensure_ascii=False))
        return
    for line in lines(found):
        _say(line)


def _say(text: str, err: bool = False, nl: bool = True) -> None:
    """Print, whatever the terminal can show: other characters, as of file names that are not UTF-8, are escaped."""
    encoding = getattr(sys.stderr if err else sys.stdout, "encoding", None) or "utf-8"
    click.echo(text.encode(encoding, "backslashreplace").decode(encoding), err=err, nl=nl)


def _error(error: BoxcamError) -> str:
    """One line, whatever the message was made of."""
    return f"boxcam: {' '.join(str(error).splitlines())}"


@contextlib.contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Each of boxcam's warnings once, as a line; those of other packages as Python shows them."""
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, BoxcamWarning):
                _say(f"boxcam: warning: {' '.join(str(message).splitlines())}", err=True)
            else:
                others(message, category, *where, **more)

        warnings.showwarning = show
        warnings.simplefilter("default", BoxcamWarning)
        yield


def _summary(
    explanation: Explanation,
    score: float,
    classes: tuple[str, ...] = (),
    ranks: tuple[int, ...] = (),
    top: int | None = None,
    classifier: bool = False,
) -> str:
    """What became of an image; the options are those of `explain`."""
    count, left = len(explanation), explanation.other_boxes
    options = "--score, --top, --class or --rank" if ranks else "--score, --top or --class"
    others = f", {left} others left out by {options}" if left else ""
    if not count:
        asked = f"{' of a class asked for' if classes else ''}{' at a rank asked for' if ranks else ''}"
        others = others or ("" if asked else ", nor any other that the bundle reports")
        best = "--rank 1 shows its best class, --score 0" if classifier and not classes else "--score 0 shows"
        lower = f": {best} boxes of any score" if left and score > 0 and not ranks else ""
        return f"no box{asked} with a score of at least {score:g}{others}{lower}"
    apart = sum(not explanation.depends(k) for k in range(count))
    empty = sum(explanation.depends(k) and not explanation.has_evidence(k) for k in range(count))
    silent = f", {empty} without positive evidence" if empty else ""
    if apart:
        silent += f", {apart} not depending on {explanation.layer}"
    missing = sorted(set(ranks))[count:] if count != top else []  # of boxes that are sorted by score the last ones
    if missing:
        least = f" with a score of at least {score:g}" if score > 0 else ""
        silent += f", none at rank {' or '.join(map(str, missing))}{least}"
    return f"{count} {'box' if count == 1 else 'boxes'}{silent}{others}"


def _steps(quiet: bool) -> Callable[[str], None]:
    """Report the steps of an export on a terminal, with the time that has passed."""
    shown = not quiet and sys.stderr.isatty()
    began = time.monotonic()

    def step(text: str) -> None:
        if shown:
            _say(f"[{time.monotonic() - began:5.1f} s] {text}", err=True)

    return step


@contextlib.contextmanager
def _bar(text: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A line on a terminal that counts boxes, and is gone when the block ends."""
    shown = not quiet and sys.stderr.isatty()

    def show(line: str) -> None:
        if shown:
            _say(f"\r\x1b[K{line}", err=True, nl=False)

    show(text)
    try:
        yield lambda done, total: show(f"{text}: box {done} of {total}")
    finally:
        show("")


def _extra(model: tuple[str, ...], source: str | None) -> str:
    """Which of boxcam's extras has what an export of a model needs; nothing but names can be looked at yet."""
    if source is not None:
        return "export" if source in ("onnx", "torchvision") else "mmdet"
    return "export" if model[0].lower().endswith(".onnx") or model[0].startswith("torchvision:") else "mmdet"


@contextlib.contextmanager
def _needs_exporter(extra: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] in _EXPORTERS:
            raise BoxcamError(
                f"exporting needs {error.name}, which is not installed here. Install boxcam's {extra!r} extra as the"
                " README shows, or export on another machine and copy the bundle."
            ) from error
        raise


if __name__ == "__main__":
    main()
