"""An OpenMMLab detector as an ONNX graph, through mmdeploy."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import onnx_ir as ir

from boxcam.bundle import Outputs, Preprocess
from boxcam.errors import BoxcamError, SourceError
from boxcam.export.source import Progress, Request, SourceModel
from boxcam.export.sources.openmmlab import config as mmdet_config
from boxcam.export.sources.openmmlab.compat import bridged, load_checkpoint
from boxcam.export.sources.pytorch.checkpoint import fill
from boxcam.export.sources.pytorch.export import quiet, read
from boxcam.leftovers import temporary_folder

_OPSET = 16  # the first with a RoiAlign that is 'half_pixel', which is mmcv's

_INPUT = "image"


def load(request: Request, progress: Progress, kind: str = "mmdet") -> SourceModel:
    """Export an mmdet model.

    Args:
        request: the config and the checkpoint, and what is wanted of them.
        progress: called as each step begins.
        kind: what the config is of: mmdet, or mmyolo, which is built on it.

    Raises:
        SourceError: config and checkpoint are at fault.
        MissingOperatorError: the model needs compiled mmcv.
    """
    if len(request.arguments) != 2:
        raise SourceError(f"an {kind} model is two files, in this order. Pass CONFIG.py CHECKPOINT.pth.")
    from boxcam.export.sources.openmmlab import mmyolo_parts
    from boxcam.export.sources.pytorch import marks

    config_path, checkpoint_path = request.arguments
    for path in request.arguments:
        if not os.path.isfile(path):
            raise SourceError(f"{path} does not exist. Check the path.")
    with bridged(), quiet():
        progress("loading the model")
        config = mmdet_config.read_config(config_path)
        mmdet_config.set_thresholds(config, request.score_threshold, request.nms_threshold)
        checkpoint = load_checkpoint(checkpoint_path)
        model = build(config, config_path)
        preprocess = mmdet_config.preprocess(config, config_path, request.shape)
        fill(
            model,
            checkpoint["state_dict"],
            checkpoint_path,
            what=f"config {config_path}",
            advice="Use the config that the checkpoint was trained with.",
            idle=lambda name: name.startswith("data_preprocessor."),  # constants of the config
        )
        if getattr(getattr(model, "roi_head", None), "mask_head", None) is not None:
            model.roi_head.mask_head = None  # boxes are explained, and no box depends on its mask
        labels = mmdet_config.labels(config, checkpoint.get("meta") or {}, _class_count(model, config_path))
        if kind == "mmyolo":
            mmyolo_parts.switch_to_deploy(model)
        progress("exporting to ONNX")
        try:
            graph, found = _to_onnx(model, preprocess)
        except BoxcamError:
            raise
        except (Exception, SystemExit) as error:  # mmdeploy, mmdet and torch meet here: anything can come out of it
            text = " ".join(str(error).split())[:300].rstrip(".")
            raise SourceError(
                f"mmdeploy cannot export the {type(model).__name__} of {config_path}: {type(error).__name__}: {text}."
                " Use one of the model families in docs/models.md: others may need what mmdeploy lacks."
            ) from error
    layers = marks.layers(found)
    return SourceModel(
        model=graph,
        input=_INPUT,
        outputs=Outputs(boxes="dets", scores="dets", labels="labels", box_columns=(0, 4), score_column=4),
        preprocess=preprocess,
        labels=labels,
        layers=layers,
        default_layers=tuple(name for name in ("roi", "neck", "backbone") if name in layers),
        description={
            "kind": kind,
            "family": type(model).__name__,
            "stages": "two" if hasattr(model, "roi_head") else "one",
            "config": os.path.basename(config_path),
            "checkpoint": os.path.basename(checkpoint_path),
            **_versions(kind),
        },
        stops=tuple(tensor for mark, tensor in found.items() if mark.startswith("stop.")),
    )


def build(config: Any, path: str) -> Any:
    """Build the config's detector, in evaluation mode, with random weights.

    Raises:
        SourceError: the config's model cannot be built or is no detector.
    """
    from mmdeploy.codebase import import_codebase
    from mmdeploy.utils import Codebase
    from mmdet.models.detectors.base import BaseDetector
    from mmengine.model import revert_sync_batchnorm
    from mmengine.registry import MODELS, DefaultScope

    import_codebase(Codebase.MMDET)
    if config.get("default_scope") == "mmyolo":
        from boxcam.export.sources.openmmlab import mmyolo_parts

        mmyolo_parts.register()
    settings = config.model.copy()
    settings.pop("pretrained", None)
    with DefaultScope.overwrite_default_scope(config.get("default_scope") or "mmdet"):
        try:
            model = MODELS.build(settings)
        except BoxcamError:
            raise
        except (Exception, SystemExit) as error:
            text = " ".join(str(error).split())[:300]
            raise SourceError(
                f"the model of config {path} cannot be built: {text.rstrip('.')}. Pass one that mmdet itself builds."
            ) from error
    if not isinstance(model, BaseDetector):
        raise SourceError(
            f"config {path} describes a {type(model).__name__}, which is not an mmdet detector. Pass the config of one."
        )
    head = getattr(model, "bbox_head", None)
    if head is not None and not hasattr(head, "loss_cls"):
        head.loss_cls = None  # mmdet 3.3.0 forgets it in its SSDHead, and then asks for one of its attributes
    return revert_sync_batchnorm(model).eval()


def _class_count(model: Any, path: str) -> int:
    head = getattr(model, "bbox_head", None) or getattr(getattr(model, "roi_head", None), "bbox_head", None)
    head = head[-1] if head is not None and hasattr(head, "__getitem__") else head
    count = getattr(head, "num_classes", None)
    if not isinstance(count, int):
        raise SourceError(
            f"config {path}: the {type(model).__name__} has no box head with classes. Pass the config of a detector."
        )
    return count


def _to_onnx(model: Any, preprocess: Preprocess) -> tuple[ir.Model, dict[str, str]]:
    import torch
    from mmdeploy.apis.onnx import export
    from mmdet.structures import DetDataSample
    from mmengine import Config

    from boxcam.export.sources.openmmlab import deform_conv, transformers
    from boxcam.export.sources.openmmlab.two_stage_heads import as_mmdet_selects
    from boxcam.export.sources.openmmlab.yolo_heads import as_yolo_heads_select
    from boxcam.export.sources.pytorch import marks

    height, width = preprocess.height, preprocess.width
    opset = deform_conv.OPSET if deform_conv.has_deformable_convolutions(model) else _OPSET
    sample = DetDataSample()
    sample.set_metainfo(
        {
            "img_shape": (height, width),
            "ori_shape": (height, width),
            "pad_shape": (height, width),
            "batch_input_shape": (height, width),
            "scale_factor": (1.0, 1.0),
        }
    )
    image = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    with temporary_folder() as folder, contextlib.ExitStack() as stack:
        for name, module in _modules(model).items():
            stack.enter_context(marks.marked_outputs(module, name))
            if name.startswith("roi"):
                stack.enter_context(marks.marked_input(module, 1, name.replace("roi", "rois")))
        stack.enter_context(as_mmdet_selects())
        stack.enter_context(as_yolo_heads_select())
        stack.enter_context(deform_conv.as_standard_operators())
        stack.enter_context(transformers.standard_grid_sample())
        stack.enter_context(transformers.marked_detached(model))
        prefix = os.path.join(folder, "model")
        export(
            model,
            image,
            prefix,
            backend="onnxruntime",
            input_metas={"data_samples": [sample], "mode": "predict"},
            context_info={"deploy_cfg": Config(_deploy_config(opset, height, width))},
            input_names=[_INPUT],
            output_names=["dets", "labels"],
            opset_version=opset,
            keep_initializers_as_inputs=False,
        )
        graph = read(prefix + ".onnx")
    found = marks.take_out(graph.graph, transformers.STOP)
    _shape_proposals(graph.graph, found)
    return graph, found


def _shape_proposals(graph: ir.Graph, marks: dict[str, str]) -> None:
    """Say that proposals have five columns: behind the first stage of a cascade torch's exporter loses sight of it."""
    names = {name for mark, name in marks.items() if mark.startswith("rois")}
    for value in (value for node in graph for value in node.outputs if value.name in names):
        value.dtype = ir.DataType.FLOAT
        value.shape = ir.Shape([value.shape[0] if value.shape is not None and len(value.shape) == 2 else None, 5])


def _modules(model: Any) -> dict[str, Any]:
    """The modules whose outputs are layers; a cascade has a ``roi.0``, ``roi.1`` … for each of its stages."""
    import torch

    found = {"backbone": getattr(model, "backbone", None), "neck": getattr(model, "neck", None)}
    roi = getattr(getattr(model, "roi_head", None), "bbox_roi_extractor", None)
    if isinstance(roi, torch.nn.ModuleList):
        found.update({f"roi.{stage}": module for stage, module in enumerate(roi)})
    else:
        found["roi"] = roi
    return {name: module for name, module in found.items() if isinstance(module, torch.nn.Module)}


def _deploy_config(opset: int, height: int, width: int) -> dict[str, Any]:
    """The deploy config: what mmdeploy ships as files; mmdet's own thresholds go before the ones that it wants here."""
    return {
        "onnx_config": {
            "type": "onnx",
            "export_params": True,
            "keep_initializers_as_inputs": False,
            "opset_version": opset,
            "save_file": "model.onnx",
            "input_names": [_INPUT],
            "output_names": ["dets", "labels"],
            "input_shape": (width, height),
        },
        "codebase_config": {
            "type": "mmdet",
            "task": "ObjectDetection",
            "model_type": "end2end",
            "post_processing": {
                "score_threshold": 0.05,
                "confidence_threshold": 0.005,
                "iou_threshold": 0.5,
                "max_output_boxes_per_class": 200,
                "pre_top_k": 5000,
                "keep_top_k": 100,
                "background_label_id": -1,
            },
        },
        "backend_config": {"type": "onnxruntime"},
    }


def _versions(kind: str) -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in dict.fromkeys((kind, "mmdet", "mmdeploy", "torch")):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
