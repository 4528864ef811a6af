"""The bridges hold while an export runs, and nothing of them is left afterwards."""

from __future__ import annotations

import collections
import importlib
import importlib.util
import io
import os
import pickle
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from boxcam.errors import MissingOperatorError, SourceError
from boxcam.export.sources.openmmlab.compat import bridged, load_checkpoint

EXTENSION = "mmcv._ext"
opset9 = importlib.import_module("torch.onnx.symbolic_opset9")  # the module that mmdeploy imports from


def state() -> tuple[Any, ...]:
    """All that the bridges patch."""
    import mmcv

    return (
        torch.onnx.export,
        vars(opset9).get("_cast_Long"),
        sys.modules.get(EXTENSION),
        vars(mmcv).get("_ext"),
    )


def test_everything_is_put_back() -> None:
    before = state()
    with bridged():
        assert torch.onnx.export is not before[0]
        assert opset9._cast_Long is not None
        assert EXTENSION in sys.modules
    assert state() == before
    with pytest.raises(ZeroDivisionError), bridged():
        _ = 1 / 0
    assert state() == before


def test_blocks_may_be_nested() -> None:
    before = state()
    with bridged():
        outer = state()
        with bridged():
            assert sys.modules[EXTENSION] is outer[2]
        assert state() == outer
        with pytest.raises(KeyError), bridged():
            raise KeyError
        assert state() == outer
    assert state() == before


def test_the_exporter_is_the_torchscript_one_unless_asked_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(torch.onnx, "export", lambda *args, **kwargs: calls.append(kwargs))
    with bridged():
        torch.onnx.export("model", opset_version=16)
        torch.onnx.export("model", dynamo=True)
    assert calls == [{"dynamo": False, "opset_version": 16}, {"dynamo": True}]


def test_a_cast_that_torch_still_has_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = object()
    monkeypatch.setattr(opset9, "_cast_Long", mine, raising=False)
    with bridged():
        assert opset9._cast_Long is mine
    assert opset9._cast_Long is mine


def test_the_cast_is_where_mmdeploy_looks_for_it_the_first_time() -> None:
    """In a fresh interpreter ``torch.onnx.symbolic_opset9`` is another module than the one of that name."""
    code = (
        "from boxcam.export.sources.openmmlab.compat import bridged\n"
        "with bridged():\n"
        "    import mmdeploy.apis.onnx\n"
        "    from torch.onnx.symbolic_opset9 import _cast_Long\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_compiled_mmcv_wins_when_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = types.ModuleType(EXTENSION)
    monkeypatch.setitem(sys.modules, EXTENSION, compiled)
    with bridged():
        assert sys.modules[EXTENSION] is compiled
    assert sys.modules[EXTENSION] is compiled


def test_a_compiled_mmcv_wins_when_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mmcv

    (tmp_path / "_ext.py").write_text("compiled = True\n")
    monkeypatch.setattr(mmcv, "__path__", [*mmcv.__path__, str(tmp_path)])
    monkeypatch.setattr(mmcv, "_ext", None, raising=False)  # so that the import below is undone
    with bridged():
        assert EXTENSION not in sys.modules
        module = importlib.import_module(EXTENSION)
        del sys.modules[EXTENSION]
    assert module.compiled


@pytest.mark.parametrize("missing", ["mmdet", "mmcv", "mmengine", "mmdeploy", "torchvision", "onnxscript"])
def test_what_is_not_installed_is_named(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else real(name))
    before = state()
    with pytest.raises(SourceError, match=f"{missing} not installed.*Install boxcam's 'mmdet' extra"), bridged():
        pass
    assert state() == before


def test_a_missing_operator_is_named_when_it_is_called() -> None:
    with bridged():
        extension: Any = sys.modules[EXTENSION]
        function = extension.carafe_forward  # looking is free: mmcv looks at import
        with pytest.raises(MissingOperatorError, match=r"operator 'carafe_forward'.*Install a compiled mmcv"):
            function(1, 2)
        assert not hasattr(extension, "__wrapped__")

        from mmcv.ops import sigmoid_focal_loss

        with pytest.raises(MissingOperatorError, match="'sigmoid_focal_loss_forward'"):
            sigmoid_focal_loss(torch.zeros(2, 3), torch.zeros(2, dtype=torch.long), 2.0, 0.25, None, "none")


def brute_force(boxes: Any, scores: Any, threshold: float, offset: int) -> list[int]:
    kept: list[int] = []
    for k in np.argsort(-scores):
        x1, y1, x2, y2 = boxes[k]
        for j in kept:
            u1, v1, u2, v2 = boxes[j]
            shared = max(0.0, min(x2, u2) - max(x1, u1) + offset) * max(0.0, min(y2, v2) - max(y1, v1) + offset)
            areas = (x2 - x1 + offset) * (y2 - y1 + offset) + (u2 - u1 + offset) * (v2 - v1 + offset)
            if shared / (areas - shared) > threshold:
                break
        else:
            kept.append(int(k))
    return kept


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9])
def test_nms_is_that_of_the_definition(threshold: float, offset: int) -> None:
    rng = np.random.default_rng(3)
    corner = rng.uniform(0, 40, (60, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(3, 20, (60, 2))], axis=1)
    boxes = (boxes.repeat(5, axis=0) + rng.normal(0, 0.3, (300, 4))).astype(np.float32)
    scores = rng.permutation(300).astype(np.float32)
    expected = brute_force(boxes.astype(np.float64), scores, threshold, offset)
    assert 3 < len(expected) < 300
    with bridged():
        from mmcv.ops import nms

        found = nms(torch.from_numpy(boxes), torch.from_numpy(scores), threshold, offset)[1]
    assert found.tolist() == expected


def test_roi_align_takes_half_pixels_into_account() -> None:
    """On a ramp every bin's mean is the ramp at its centre; cell j of the map has its centre at j + 0.5."""
    ramp = torch.arange(16.0).repeat(16, 1)[None, None]
    rois = torch.tensor([[0, 8.0, 8.0, 40.0, 56.0]])  # at a quarter of the size: 2 to 10 across, 2 to 14 down
    with bridged():
        from mmcv.ops import roi_align

        found = roi_align(ramp, rois, (3, 4), 0.25, 2, "avg", True)[0, 0]
        with pytest.raises(MissingOperatorError, match="'max' mode"):
            roi_align(ramp, rois, (3, 4), 0.25, 2, "max", True)
    assert found.tolist() == [[2.5, 4.5, 6.5, 8.5]] * 3


def test_mmyolo_runs_under_the_bridges() -> None:
    with bridged():
        import mmyolo
        from mmengine import Config
        from mmengine.registry import MODELS, DefaultScope
        from mmyolo.utils import register_all_modules

        register_all_modules(init_default_scope=False)
        folder = Path(mmyolo.__file__).parent / ".mim" / "configs" / "yolov8"
        config = Config.fromfile(folder / "yolov8_n_syncbn_fast_8xb16-500e_coco.py")
        config.model.backbone.widen_factor = config.model.neck.widen_factor = 0.125
        config.model.bbox_head.head_module.widen_factor = 0.125
        for part in (config.model.backbone, config.model.neck, config.model.bbox_head.head_module):
            part.norm_cfg = {"type": "BN"}
        with DefaultScope.overwrite_default_scope("mmyolo"):
            model = MODELS.build(config.model).eval()
        with torch.no_grad():
            scores = model(torch.zeros(1, 3, 64, 64), mode="tensor")[0]
    assert [tuple(level.shape) for level in scores] == [(1, 80, 8, 8), (1, 80, 4, 4), (1, 80, 2, 2)]


def saved(path: Path, thing: Any, **options: Any) -> Path:
    torch.save(thing, path, **options)
    return path


@pytest.mark.parametrize("zipped", [True, False])
def test_what_mmengine_writes_beside_the_weights_is_loaded(zipped: bool, tmp_path: Path) -> None:
    from mmengine.logging import MessageHub

    hub = MessageHub("test_mmdet_bridges")
    for value in (1.0, 2.0, 6.0):
        hub.update_scalar("train/loss", value)
        hub.update_scalar("train/lr", np.float64(value))
    hub.update_info("iter", np.int64(3))
    extra = {
        "numbers": [np.float32(1.5), np.float64(2.5), np.int32(7), np.uint32(8), np.bool_(True)],
        "array": np.arange(6.0).reshape(2, 3),
        "ordered": collections.OrderedDict(b=2),
    }
    checkpoint = {
        "meta": {"epoch": 1, "dataset_meta": {"classes": ("a", "b")}, "time": "20260101", **extra},
        "state_dict": collections.OrderedDict(weight=torch.ones(2, 3), half=torch.ones(1, dtype=torch.float16)),
        "message_hub": hub.state_dict(),
        "optimizer": torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1).state_dict(),
        "param_schedulers": [{"last_step": 3, "_global_step": 4}],
    }
    loaded = load_checkpoint(saved(tmp_path / "c.pth", checkpoint, _use_new_zipfile_serialization=zipped))
    assert set(loaded) == set(checkpoint)
    assert loaded["state_dict"]["weight"].tolist() == [[1, 1, 1], [1, 1, 1]]
    assert loaded["meta"]["dataset_meta"] == {"classes": ("a", "b")}
    assert loaded["meta"]["numbers"] == extra["numbers"]
    assert [type(number) for number in loaded["meta"]["numbers"]] == [type(number) for number in extra["numbers"]]
    assert loaded["meta"]["array"].tolist() == [[0, 1, 2], [3, 4, 5]]
    history = loaded["message_hub"]["log_scalars"]["train/loss"]
    assert (history.current(), history.mean(), history.max(), history.min()) == (6.0, 3.0, 6.0, 1.0)


def test_a_bare_state_dict_is_a_checkpoint(tmp_path: Path) -> None:
    loaded = load_checkpoint(saved(tmp_path / "c.pth", {"weight": torch.ones(1)}))
    assert set(loaded) == {"state_dict"}


class Pickled:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def test_getattr_gives_the_statistics_of_a_history_and_nothing_else(tmp_path: Path) -> None:
    from mmengine.logging import HistoryBuffer

    load_checkpoint(saved(tmp_path / "c.pth", {"state_dict": {}, "meta": Pickled(getattr, HistoryBuffer, "mean")}))
    for owner, name in ((HistoryBuffer, "__init__"), (HistoryBuffer, "register_statistics"), (np.ndarray, "tofile")):
        file = saved(tmp_path / "c.pth", {"state_dict": {}, "meta": Pickled(getattr, owner, name)})
        with pytest.raises(SourceError, match=f"is refused: it holds attribute '{name}' of"):
            load_checkpoint(file)


@pytest.mark.parametrize("function", [os.system, eval, exec, __import__, open, print, pickle.loads])
def test_no_function_is_called(function: Any, tmp_path: Path) -> None:
    sentinel = tmp_path / "sentinel"
    argument = f"touch {sentinel}" if function is os.system else str(sentinel)
    for thing in (Pickled(function, argument), {"state_dict": {}, "meta": [Pickled(function, argument)]}):
        with pytest.raises(SourceError, match="is refused: it holds "):
            load_checkpoint(saved(tmp_path / "c.pth", thing))
    assert not sentinel.exists()


def test_the_list_is_closed_again_after_loading(tmp_path: Path) -> None:
    before = torch.serialization.get_safe_globals()
    load_checkpoint(saved(tmp_path / "c.pth", {"weight": torch.ones(1)}))
    with pytest.raises(SourceError):
        load_checkpoint(saved(tmp_path / "c.pth", Pickled(print, "x")))
    assert torch.serialization.get_safe_globals() == before


def test_a_damaged_file_gives_one_line(tmp_path: Path) -> None:
    """However it is damaged: the unpickler can stumble over anything."""
    rng = np.random.default_rng(0)
    stream = io.BytesIO()
    torch.save(
        {"state_dict": {"a": torch.zeros(3)}, "meta": {"epoch": 1}}, stream, _use_new_zipfile_serialization=False
    )
    whole, file = stream.getvalue(), tmp_path / "c.pth"
    refused = 0
    for _ in range(150):
        data = bytearray(whole)
        for place in rng.integers(1, len(data), 3):
            data[place] = rng.integers(0, 256)
        file.write_bytes(data)
        message = refusal(file)
        refused += bool(message)
        assert "\n" not in message
        assert "\x1b" not in message
    assert refused > 75


def refusal(file: Path) -> str:
    """What is said about a checkpoint; nothing if it is good."""
    try:
        load_checkpoint(file)
    except SourceError as error:
        return str(error)
    return ""
