"""What to say of arguments that no source recognises: most often a file of another kind, or two that are swapped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePath

from boxcam.bundle import MANIFEST

_WEIGHTS = (".pt", ".pth", ".ckpt", ".safetensors")
_TURNED = {
    "tf2onnx": (".pb", ".keras", ".h5", ".tflite"),
    "paddle2onnx": (".pdmodel", ".pdiparams"),
}
_BUILT = (".engine", ".plan", ".trt", ".xml", ".mlmodel", ".mlpackage")


def bundle(arguments: tuple[str, ...]) -> str | None:
    """What to say of a bundle that is to be exported; None if there is none among the arguments."""
    there = [one for one in arguments if (Path(one) / MANIFEST).is_file()]
    if not there:
        return None
    return (
        f"{there[0]} is a bundle already: it was made by 'boxcam export', and needs no export."
        f" 'boxcam inspect {there[0]}' describes it, and 'boxcam explain {there[0]} IMAGE' draws heatmaps."
    )


def advice(arguments: tuple[str, ...], is_known: Callable[[tuple[str, ...]], bool]) -> str:
    """How to mend arguments that were not recognised; empty if nothing better is known than what the sources take.

    Args:
        arguments: what was given.
        is_known: whether a source recognises other arguments.
    """
    if any("://" in one for one in arguments):
        return "boxcam reads files only. Download it, and pass the file."
    turned = arguments[::-1]
    if len(arguments) == 2 and is_known(turned):
        return f"The two are swapped. Pass {' '.join(turned)}."
    if len(arguments) != 1:
        return ""
    (name,) = arguments
    kind = PurePath(name).suffix.lower()
    if kind in _WEIGHTS:
        return (
            "It holds weights, or a TorchScript module, and needs the code that builds the model. Of Ultralytics,"
            " run: yolo export"
            f" model={name} format=onnx; of torchvision, pass torchvision:NAME {name}; of mmdet or mmyolo, pass"
            " CONFIG.py"
            f" {name}; of any other model, run torch.onnx.export(model, image, 'model.onnx'). Then pass the ONNX file."
        )
    if kind in _BUILT:
        return "It is compiled for one runtime. Pass the ONNX file that it was made from."
    tool = next((tool for tool, kinds in _TURNED.items() if kind in kinds), None)
    return "" if tool is None else f"Convert it to ONNX with {tool}, and pass the ONNX file."
