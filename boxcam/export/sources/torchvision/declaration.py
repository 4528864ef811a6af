"""Models of torchvision as a source: what is said of them before anything is read."""

from __future__ import annotations

from boxcam.export.source import Progress, Request, Source, SourceModel
from boxcam.export.sources.torchvision import PREFIX


def recognises(arguments: tuple[str, ...]) -> bool:
    """``torchvision:`` and a name."""
    return bool(arguments) and arguments[0].startswith(PREFIX)


def load(request: Request, progress: Progress) -> SourceModel:
    """See `boxcam.export.sources.torchvision.source.load`."""
    from boxcam.export.sources.torchvision.source import load

    return load(request, progress)


SOURCE = Source(
    usage=f"{PREFIX}NAME WEIGHTS.pth",
    recognises=recognises,
    load=load,
    options=frozenset({"class_names", "preprocess"}),
    meaning="a model of torchvision by name, and its state dict",
    packages=("torchvision",),
    prefix=PREFIX,
    examples=(
        f"{PREFIX}fasterrcnn_resnet50_fpn weights.pth --sample street.jpg",
        f"{PREFIX}resnet50 weights.pth --layer layer4 --class-names names.txt",
    ),
)
