"""A manifest with an entry of every kind."""

from __future__ import annotations

from boxcam.bundle import ClassAxis, Gradient, Head, Layer, Logits, Manifest, Outputs, Preprocess, Tensor, TracedTarget

MANIFEST_OF_ALL = Manifest(
    boxcam="1.2.3",
    source={"config": "réseau.py", "checkpoint": "猫.pth"},
    labels=("person", "Füße"),
    input="input",
    preprocess=Preprocess(
        height=800,
        width=1344,
        fit_height=800,
        fit_width=1333,
        resize="fit",
        pad_to="top-left",
        pad_value=(0.0, 0.5, 114.0),
        pad_before_normalize=False,
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
        color="RGB",
        interpolation="area",
    ),
    outputs=Outputs(boxes="dets", scores="dets", labels="labels", box_columns=(0, 4), score_column=4),
    targets=(
        TracedTarget("logit", "origin", "logit", (Logits("cls", (1, 720, None, 100), "sigmoid", ClassAxis(1, 9)),)),
        TracedTarget("x1", "origin.x1", "value.x1", (Logits("decoded", (1, None, 4), "Identity"),)),
    ),
    layers=(
        Layer(
            name="neck",
            kind="map",
            tensors=(Tensor("p3", 256, 100, 168, (8.0, 8.0), 11), Tensor("p4", 256, 50, 84, (16.0, 16.0))),
            gradients=(
                Gradient("onnx", "logit", "plain", "gradient.neck.onnx", "windows", "", ("relu_1",), 128),
                Gradient("torchscript", "logit", "plain", "gradient.neck.pt", "whole", "Conv (c) between", (), 8),
                Gradient("onnx", "x1", "guided", "gradient.neck.x1.onnx", "rows", "", (), 1, "gradient.neck.m.onnx"),
            ),
            heads=(
                Head("cls", "head.neck.onnx", (), True, "window"),
                Head("decoded", "head-1.neck.onnx", ("lateral_0",), False, "cells", ("lateral_0",)),
            ),
        ),
        Layer("roi", "roi", (Tensor("pooled", 256, 7, 7, None, rois="rois"),), ()),
    ),
    verification={"original outputs": 0.0, "onnx gradients": 1.25e-7},
)
