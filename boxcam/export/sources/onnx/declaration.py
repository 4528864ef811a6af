"""ONNX files as a source: what is said of them before anything is read."""

from __future__ import annotations

from boxcam.export.source import Options, Progress, Request, Source, SourceModel


def recognises(arguments: tuple[str, ...]) -> bool:
    """One file that ends in .onnx."""
    return len(arguments) == 1 and arguments[0].lower().endswith(".onnx")


def load(request: Request, progress: Progress) -> SourceModel:
    """See `boxcam.export.sources.onnx.source.load`."""
    from boxcam.export.sources.onnx.source import load

    return load(request, progress)


SOURCE = Source(
    usage="MODEL.onnx",
    recognises=recognises,
    load=load,
    options=frozenset(Options.__annotations__),
    meaning="an ONNX file of any framework; `boxcam inspect` tells what it needs",
    extra="onnx",
    examples=("yolo.onnx --preprocess yolo --sample street.jpg",),
)
