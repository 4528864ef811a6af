"""What a manifest lists, held against a forward graph."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from boxcam.bundle import Candidates, Layer, Manifest
from boxcam.errors import BundleError, EngineError
from boxcam.runtime.promises import check_promises
from tests.runtime.formulas import FORWARD, MANIFEST, NECK, ROI, SPEC, Session


def changed(spec: dict[str, Any] | None = None, **others: Any) -> Manifest:
    return replace(MANIFEST, preprocess=replace(SPEC, **(spec or {})), **others)


def check(forward: Session, manifest: Manifest = MANIFEST) -> None:
    check_promises(manifest, cast(Any, forward))


def test_a_forward_graph_that_is_as_the_manifest_says_is_taken() -> None:
    forward = Session()
    check(forward)
    forward.outputs["p3"] = ("N", "C", "h", 6)  # what is open may be anything
    forward.outputs["p4"] = (1, 9)  # and what has another rank is looked at where it is run
    check(forward)
    forward.inputs = {"image": (1, 16, 48, 3)}
    check(forward, changed({"layout": "NHWC"}))
    forward.inputs = {"image": (1, 3, "h", None)}
    check(forward, changed({"multiple": 8, "resize": "fit"}))


NEEDED = (
    "boxes", "scores", "labels", "origin", "logit", "where", "much", "p3", "p4", "pooled", "rois", "onnx.logit.plain",
    "onnx.logit.guided", "torchscript.logit.plain", "torchscript.score.plain", "onnx.score.plain",
)  # fmt: skip


@pytest.mark.parametrize("name", NEEDED)
def test_what_a_forward_graph_lacks_is_named(name: str) -> None:
    forward = Session()
    del forward.outputs[name]
    with pytest.raises(BundleError) as caught:
        check(forward)
    assert str(caught.value) == f"{FORWARD} lacks {name}, which the manifest lists. Export the model again."


def test_what_the_candidates_need_is_named() -> None:
    told = Candidates("opened.onnx", "selection.onnx", ("kept",), (), 2, "product", 4, proposals=("decoded",))
    forward = Session(kept=np.zeros(3, np.float32), decoded=np.zeros((3, 4), np.float32))
    check(forward, changed(candidates=told))
    for name in ("kept", "decoded"):
        without = Session(kept=np.zeros(3, np.float32), decoded=np.zeros((3, 4), np.float32))
        del without.outputs[name]
        with pytest.raises(BundleError, match=rf"forward\.onnx lacks {name}, which the manifest lists\."):
            check(without, changed(candidates=told))


def test_of_many_that_it_lacks_three_are_named() -> None:
    forward = Session()
    for name in NEEDED[:4]:
        del forward.outputs[name]
    with pytest.raises(BundleError, match=r"forward\.onnx lacks boxes, labels, origin, which the manifest lists\."):
        check(forward)


@pytest.mark.parametrize(
    ("manifest", "size", "lacks"),
    [
        (MANIFEST, (1, 3, 48, 16), "an input of 16x48"),
        (MANIFEST, (1, 3, 16, "w"), "an input of 16x48"),
        (MANIFEST, None, "an input of 16x48"),
        (changed({"layout": "NHWC"}), (1, 3, 16, 48), "an input of 16x48"),
        (changed({"multiple": 8, "resize": "fit"}), (1, 3, "h", 48), "an input of each image's own size"),
        (changed({"multiple": 8, "resize": "fit"}), (1, 3, 16, "w"), "an input of each image's own size"),
        (changed({"multiple": 8, "resize": "fit"}), (1, 3, "h"), "an input of each image's own size"),
    ],
)
def test_an_input_of_another_size_is_refused(manifest: Manifest, size: Any, lacks: str) -> None:
    forward = Session()
    forward.inputs = {} if size is None else {"image": size}
    with pytest.raises(BundleError) as caught:
        check(forward, manifest)
    assert str(caught.value) == f"{FORWARD} lacks {lacks}, which the manifest lists. Export the model again."


@pytest.mark.parametrize("shape", [(1, 3, 4, 6), (1, 2, 5, 6), (1, 2, 4, 7), ("N", 2, "h", 7)])
def test_a_tensor_of_another_size_is_refused(shape: Any) -> None:
    forward = Session()
    forward.outputs["p3"] = shape
    with pytest.raises(BundleError) as caught:
        check(forward)
    assert str(caught.value) == (
        f"{FORWARD}: p3 is {list(shape[1:])}, not [2, 4, 6] as the manifest says. Export the model again."
    )


def test_a_layer_without_gradients_and_a_tensor_of_another_type_are_refused() -> None:
    forward = Session()
    with pytest.raises(EngineError) as caught:
        check(forward, changed(layers=(NECK, Layer("roi", "roi", ROI.tensors, ()))))
    assert str(caught.value) == "bundle b.boxcam has no gradient for layer 'roi'. Export the model again."
    forward.types["p4"] = "tensor(int64)"
    with pytest.raises(BundleError, match=r"^b\.boxcam.forward\.onnx: p4 is tensor\(int64\), not"):
        check(forward)
