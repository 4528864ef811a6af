"""The public functions: documented here, and importing what they need when they are called."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import boxcam.model  # any of its files: the annotations name what is public in the package
else:
    boxcam = sys.modules[__package__]  # so that they can be read, as by typing.get_type_hints


def load(
    path: str | os.PathLike[str],
    *,
    threads: int = 0,
    device: str = "cpu",
    providers: str | Sequence[str] = (),
) -> boxcam.Model:
    """Open a bundle.

    Args:
        path: the bundle's directory, as `boxcam export` wrote it.
        threads: CPU threads to use, 0 for as many as there are cores.
        device: ``cpu``, or ``cuda`` for the forward pass and the gradient on an NVIDIA GPU.
        providers: names of ONNX Runtime's execution providers, the preferred one first, instead of the device's.

    Returns:
        The model, which explains any number of images.

    Raises:
        BundleError: the bundle is missing, altered, broken, or of a newer version.
        EngineError: ONNX Runtime is not installed, or twice.
        UnknownNameError: there is no such device or provider.
        ArgumentError: the number of threads is negative or above 1024, or an argument is of another type.

    Warns:
        BoxcamWarning: the device or a provider cannot be used, and the CPU is instead.

    >>> import boxcam
    >>> model = boxcam.load("signs.boxcam")
    >>> model.layers
    ('neck',)
    """
    from boxcam.model import Model

    return Model(path, threads=threads, device=device, providers=providers)


def explain(
    model: boxcam.Model | str | os.PathLike[str],
    image: boxcam.ImageLike,
    *,
    method: str | None = None,
    layer: str | Sequence[str] | None = None,
    fuse: Literal["max", "mean"] | None = None,
    target: str | None = None,
    engine: str = "auto",
    score: float | None = None,
    top: int | None = None,
    classes: str | int | Sequence[str | int] | None = None,
    rank: int | Sequence[int] | None = None,
    at: Sequence[float] | None = None,
    against: str | int | None = None,
    masks: int | None = None,
    passes: int | None = None,
    samples: int | None = None,
    noise: float | None = None,
    seed: int | None = None,
    color: Literal["BGR", "RGB"] = "BGR",
    progress: Callable[[int, int], None] | None = None,
) -> boxcam.Explanation:
    """Explain the boxes that a model draws on an image.

    Args:
        model: from `boxcam.load`, or a bundle's path, which is then loaded for this one image.
        image: a file; an array, uint8 [H, W, 3] or [H, W] grey; or a ``PIL.Image.Image``, whose pixels are taken as
            they are. Files are turned upright as their EXIF orientation says.
        method: a CAM method, see `boxcam.methods`; by default ``hirescam`` for a detector and with ``against``,
            ``gradcam`` for a classifier.
        layer: which layer to look at, or which ones; the bundle's first one that the method can be used at by default.
        fuse: how the maps of several layers become one: ``max`` or ``mean`` of what is positive of each, as a share of
            its peak.
        target: what of the boxes to explain: ``logit``, ``score``, ``x1``, ``y1``, ``x2`` or ``y2``; the bundle's first
            one by default.
        engine: gradient engine, ``onnx`` or ``torchscript``; ``auto`` never takes the latter, which is a program out of
            the bundle: it runs only where it is asked for.
        score: explain boxes of at least this score, 0 to 1. By default 0.3; 0 where boxes are named by ``rank``, or a
            classifier's by ``classes``.
        top: explain at most so many boxes, 1 or more, the best first; all by default.
        classes: explain boxes of these classes only, by name or index.
        rank: explain only these boxes, counted from the best one, which is 1; where classes are given, of these.
        at: a place, x1 y1 x2 y2 in image pixels: explain the best candidate there, of each of ``classes`` or of the
            likeliest class, whether or not the model reported it; ``explanation.candidates`` say why it did not.
        against: another class, by name or index, or ``runner-up`` for the one that comes next of each box: explain what
            speaks for the box's class rather than for that one. Boxes of that class itself are left out.
        masks: how many masks a method of masks (``d-rise``) draws, 1 or more; 5,000 by default.
        passes: how many forward passes a search (``patch-search``) has for each box, 1 or more; 40 by default.
        samples, noise: how many noisy images a method of noise (``smooth-grad``) makes, 1 or more, and the standard
            deviation of the noise as a share of the range of the image's values; 50 and 0.15 by default.
        seed: of what such methods draw: the same for the same seed, which is 0 by default.
        color: order of an array's channels: ``BGR``, as ``cv2.imread`` gives it, or ``RGB``. Pictures of the
            explanation have the same order.
        progress: called with the number of boxes done, 0 at first, and their total; of a method that runs the model
            again, with the number of masks, channels or forward passes done and theirs.

    Returns:
        The boxes, and for each a map of what speaks for it.

    Raises:
        InputError: the image cannot be read.
        UnknownLayerError, UnknownNameError, EngineError: layer, target, method, class or engine is not there.
        RunError: the model fails on the image, or gives numbers that cannot be, such as a score that is NaN.
        ArgumentError: ``score``, ``top``, ``rank``, ``masks``, ``passes``, ``samples``, ``noise``, ``seed`` or
            ``color`` is out of range, or does not go with the method; a layer is given twice; ``fuse`` is given for
            one map; or model and image are swapped.
        BundleError: the model is a path, and no bundle is there.

    Warns:
        BoxcamWarning: a map is empty, although the box depends on the layer; another method may show more. Or the
            probabilities of all classes, by which ``d-rise`` weighs masks, cannot be told.

    >>> import boxcam
    >>> model = boxcam.load("signs.boxcam")
    >>> explanation = boxcam.explain(model, "street.jpg", method="hirescam", layer="neck", top=2)
    >>> for box in explanation:
    ...     print(f"{box.name} {box.score:.2f}")
    pedestrian crossing 0.99
    no entry 0.99
    >>> paths = explanation.save("out")
    """
    from boxcam.explain.explainer import explain
    from boxcam.explain.options import Options
    from boxcam.model import open_model

    options = Options(
        method=method,
        layer=layer,
        fuse=fuse,
        target=target,
        engine=engine,
        score=score,
        top=top,
        classes=classes,
        rank=rank,
        at=at,
        against=against,
        masks=masks,
        passes=passes,
        samples=samples,
        noise=noise,
        seed=seed,
    )
    return explain(open_model(model, image), image, options, color=color, progress=progress)


def evaluate(
    model: boxcam.Model | str | os.PathLike[str],
    images: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    annotations: str | os.PathLike[str] | None = None,
    *,
    method: str | Sequence[str] = ("gradcam", "hirescam"),
    layer: str | Sequence[str] | None = None,
    metrics: str | Sequence[str] | None = None,
    fills: str | Sequence[str] = "blur",
    steps: int = 20,
    iou: float = 0.5,
    seed: int = 0,
    score: float | None = None,
    top: int | None = None,
    sanity: int = 0,
    agreement: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> boxcam.Evaluation:
    """Measure how good heatmaps are: those of several methods and layers, on the same boxes.

    What cannot be compared is counted, and never scored: boxes that match no object, objects that no box shows, images
    without annotations, annotations of other images, of unknown classes or outside of the image, crowds, empty maps.

    Args:
        model: from `boxcam.load`, or a bundle's path; a detector.
        images: a file, a folder or a pattern such as ``"val/*.jpg"``, or several of them.
        annotations: the objects in the images: a JSON file of COCO's form, or a folder of YOLO's text files or of
            Pascal VOC's XML files. Without it, each of the model's own boxes stands for the object that it shows.
        method: CAM methods, one or several.
        layer: layers to look at, each by each method; the bundle's first one by default.
        metrics: what is measured, names out of docs/metrics.md; all that the annotations allow by default.
        fills: what hides pixels in ``insertion``, ``deletion`` and ``oa``: ``blur``, ``black``, ``mean``.
        steps: of their curves, 1 or more.
        iou: above which a box shows an object, 0 to 1.
        seed: of noise, of the order of equally high pixels, of shuffled weights and of intervals: the same figures for
            the same seed.
        score: lowest score of a box, 0 to 1; 0.3 by default.
        top: at most so many boxes an image, the best first; all by default.
        sanity: also shuffle the model's weights in so many stages, from the outputs down, and compare the maps of the
            same logits before and after: ``sanity@3/13`` is the rank correlation once 3 of 13 layers are shuffled,
            ``sanity-ssim@3/13`` the structural similarity. What stays alike does not show what was learned.
        agreement: also give the rank correlation of the maps of each two rows: ``agreement@hirescam, neck``.
        progress: called with the number of images done, 0 at first, and their total.

    Returns:
        The figures, with 95 % intervals of a bootstrap over images, and those of each box.

    Raises:
        InputError: the annotations are of no known form or are broken, none of their classes is the model's, or no
            image could be measured.
        UnknownLayerError, UnknownNameError, EngineError: method, layer, metric or fill is not there; or the weights
            cannot be shuffled, as of models that choose boxes in the middle.
        ArgumentError: a number is out of its range, images are no paths, a metric needs annotations, or the model is a
            classifier.
        PackageError: the annotations need a package of the extra ``audit``.
        BundleError: the model is a path, and no bundle is there.

    Warns:
        BoxcamWarning: some images could not be measured; ``failures`` of the result has why.

    >>> import boxcam
    >>> found = boxcam.evaluate("signs.boxcam", "street.jpg", method=["gradcam", "hirescam"], metrics="pointing")
    >>> for one in found.figures():
    ...     print(found.rows[one.row], one.metric, f"{one.mean:.1f} of {one.boxes} boxes")
    ('gradcam', 'neck') pointing 0.4 of 5 boxes
    ('hirescam', 'neck') pointing 1.0 of 5 boxes
    >>> paths = found.save("measured")
    """
    from boxcam.explain.evaluation.request import Request
    from boxcam.explain.evaluation.run import Run, checked, counter
    from boxcam.model import open_model

    request = Request(
        method=method,
        layer=layer,
        metrics=metrics,
        fills=fills,
        steps=steps,
        iou=iou,
        seed=seed,
        score=score,
        top=top,
        sanity=sanity,
        agreement=agreement,
    )
    watch = counter(progress)
    return checked(Run(open_model(model, images), images, annotations, request).all(watch))


def limits(
    *, timeout: float | None = None, max_memory: int | str | None = None, max_pixels: int | None = None
) -> AbstractContextManager[None]:
    """Limits for everything that is done in a ``with`` block: exporting, loading and explaining.

    Args:
        timeout: seconds that the block may take.
        max_memory: bytes that the process may ask the system for, or ``"4G"``; on Linux. What asks for more fails.
        max_pixels: pixels that an image may have, height times width; 179 million without a limit of one's own.

    Returns:
        What ``with`` takes. Blocks can lie inside of each other; the narrower time and memory hold.

    Raises:
        LimitError: at the end of the block: it took longer, or asked for more memory.
        ArgumentError: a limit is no number above 0, is below what is in use, or memory cannot be limited here.

    Other threads do not take over the limits of the one that starts them, unless they get its ``contextvars``; memory
    is that of the process, so the lowest of several threads holds.

    >>> import boxcam
    >>> with boxcam.limits(timeout=60, max_pixels=10_000_000):
    ...     found = boxcam.load("signs.boxcam").detect("street.jpg")
    >>> len(found)
    7
    """
    from boxcam import budget

    return budget.limits(timeout=timeout, max_memory=max_memory, max_pixels=max_pixels)


def methods() -> tuple[str, ...]:
    """Names of the CAM methods; ``model.methods()`` gives those that a bundle has what they need for.

    ``boxcam methods`` prints what each costs, and what it is good for.

    >>> import boxcam
    >>> boxcam.methods()[:4]
    ('gradcam', 'hirescam', 'gradcam++', 'xgradcam')
    """
    from boxcam.explain.methods import METHODS

    return METHODS.names()


def export(
    *arguments: str | os.PathLike[str],
    output: str | os.PathLike[str],
    source: str | None = None,
    layers: Sequence[str] = (),
    shape: tuple[int, int] | None = None,
    score_threshold: float | None = None,
    nms_threshold: float | None = None,
    sample: str | os.PathLike[str] | None = None,
    engine: str = "auto",
    targets: Sequence[str] = ("logit",),
    overwrite: bool = False,
    accept: str | Sequence[str] = (),
    expect: str | os.PathLike[str] | None = None,
    progress: Callable[[str], None] | None = None,
    preprocess: str | Sequence[str] = (),
    class_names: str | os.PathLike[str] | Sequence[str] | None = None,
    scores: str | None = None,
    boxes: str | None = None,
    labels: str | None = None,
    box_format: str | None = None,
    box_scale: str | None = None,
    score_activation: str | None = None,
    background: str | None = None,
    convention: str | None = None,
    columns: str | Sequence[str] | None = None,
    decode: str | Callable[..., Any] | None = None,
    layout: Literal["NCHW", "NHWC", "tokens"] | None = None,
    tokens: tuple[int, int] | None = None,
    stops: Sequence[str] = (),
    inputs: Mapping[str, Any] | Sequence[str] = (),
) -> boxcam.Manifest:
    """Make a bundle out of a trained detector or classifier.

    An ONNX file needs boxcam's extra ``onnx``; a model of torchvision or mmdet the extra ``export``, one of mmyolo the
    extra ``mmyolo``.

    Args:
        arguments: what the model is made of: ``"model.onnx"``; ``"torchvision:NAME", "weights.pth"``; or
            ``"config.py", "checkpoint.pth"`` of mmdet or mmyolo.
        output: the bundle's directory.
        source: kind of source; found out from the arguments by default.
        layers: names of layers or tensors; the source's own choice by default.
        shape: height and width of the model's input; the source's own by default.
        score_threshold: lowest score of a box; the source's own by default.
        nms_threshold: IoU above which a box suppresses those of lower score; the source's own by default.
        sample: an image to verify with; synthetic ones by default.
        engine: which gradients to build: ``onnx``, ``torchscript``, ``both``, which are checked against each other, or
            ``auto``: ONNX, and TorchScript where its operators suffice.
        targets: what of a box can be explained: ``logit``, the class logit; ``score``, as reported; ``x1``, ``y1``,
            ``x2``, ``y2``, the sides in pixels of the model's input; ``all`` for all that the model has.
        overwrite: replace a bundle that is there.
        accept: criteria of plausibility to overrule, by the names that messages give: ``boxes``, ``place`` and others.
        expect: a JSON file with what your own code finds on the sample: COCO results, or an object with ``boxes``
            (x1 y1 x2 y2 in pixels of the sample), ``scores`` and ``labels``. What is found has to be the same.
        progress: called with a few words as each step begins.
        preprocess: of ONNX files and classifiers: how an image becomes the input: a preset, a YAML file, or
            ``key=value``; one or several.
        class_names: of ONNX files and torchvision: a file with one name a line, or the names, by index.
        scores, boxes, labels: of ONNX files: names of the tensors that hold them, instead of those that are found.
        box_format: ``xyxy``, ``yxyx``, ``cxcywh`` or ``xywh``, the order of a box's four numbers.
        box_scale: ``pixels`` of the model's input, or ``normalized`` to 0..1.
        score_activation: ``none`` if the scores are probabilities, otherwise what makes them of the logits:
            ``sigmoid`` or ``softmax``.
        background: where the class that stands for nothing is: ``first``, ``last`` or ``none``.
        convention: how the outputs are laid out, where several ways fit: a name from the page about ONNX files, such as
            ``yolov5``.
        columns: what each column of a table of detections is, where that is not recognised:
            ``"image,class,score,x1,y1,x2,y2"``; also ``cx``, ``cy``, ``w``, ``h``, and ``skip`` for any other.
        decode: your own function from outputs to boxes and scores, or ``FILE.py:function``.
        layout: of a layer that is given by a tensor's name: ``NCHW``, ``NHWC`` or ``tokens``.
        tokens: height and width of the map that a sequence of tokens is.
        stops: names of tensors that no gradient passes, as where the framework detaches them.
        inputs: of ONNX files with more inputs than the image: what to feed to each of the others, by its name: an array
            of its shape and type, the file of one (``.npy``), or numbers; or a list of ``"NAME=VALUE"``.

    Returns:
        The manifest that was written.

    Raises:
        ExportError: the model cannot be exported, the result does not agree with it, or it was read in a way that is
            not to be believed; nothing is written then.
        InputError: the sample, or the file of ``expect``, cannot be read.
        OutputError: the bundle cannot be written there.

    >>> import boxcam
    >>> names = ["cat", "dog", "bird", "fish"]
    >>> manifest = boxcam.export("classifier.onnx", output="pets.boxcam", preprocess="imagenet", class_names=names)
    >>> manifest.labels
    ('cat', 'dog', 'bird', 'fish')
    """
    from boxcam.export import pipeline

    return pipeline.export(
        *arguments,
        output=output,
        source=source,
        layers=layers,
        shape=shape,
        score_threshold=score_threshold,
        nms_threshold=nms_threshold,
        sample=sample,
        engine=engine,
        targets=targets,
        overwrite=overwrite,
        accept=accept,
        expect=expect,
        progress=progress or (lambda step: None),
        preprocess=preprocess,
        class_names=class_names,
        scores=scores,
        boxes=boxes,
        labels=labels,
        box_format=box_format,
        box_scale=box_scale,
        score_activation=score_activation,
        background=background,
        convention=convention,
        columns=columns,
        decode=decode,
        layout=layout,
        tokens=tokens,
        stops=stops,
        inputs=inputs,
    )
