"""Checkpoints, configs and options that no bundle can be made of: one clear line, and nothing left behind."""

from __future__ import annotations

import importlib.util
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.refused import Cli, everything, refused
from tests.touch import Touch


@pytest.fixture
def export(signs: Path, tmp_path: Path, cli: Cli, capfd: Any) -> Callable[..., str]:
    """Export something that cannot be exported; returns the message. Nothing may be left behind."""

    def run(*options: str | Path, config: Any = signs / "config.py", checkpoint: Any = signs / "signs.pth") -> str:
        before = everything(tmp_path)
        done = cli("export", config, checkpoint, "-o", tmp_path / "x.boxcam", *options)
        message = refused(done, capfd)
        assert everything(tmp_path) == before
        return message

    return run


def saved(file: Path, thing: Any, **options: Any) -> Path:
    import torch

    torch.save(thing, file, **options)
    return file


def weights(signs: Path) -> Any:
    import torch

    return torch.load(signs / "signs.pth", weights_only=True)["state_dict"]


def test_a_pickle_is_never_executed(tmp_path: Path, export: Callable[..., str]) -> None:
    sentinel = tmp_path / "sentinel"
    for thing in ({"state_dict": {}, "meta": Touch(sentinel)}, Touch(sentinel), {"state_dict": {"a": Touch(sentinel)}}):
        for zipped in (True, False):
            file = saved(tmp_path / "evil.pth", thing, _use_new_zipfile_serialization=zipped)
            message = export(checkpoint=file)
            assert re.search(r"evil.pth is refused: it holds (posix|os|nt)\.system, and unpickling that", message)
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Touch(sentinel)))
    export(checkpoint=tmp_path / "evil.pth")
    assert not sentinel.exists()
    pickle.loads((tmp_path / "evil.pth").read_bytes())
    assert sentinel.exists()  # so it would have been seen


def test_other_objects_are_refused_by_name(tmp_path: Path, export: Callable[..., str]) -> None:
    import datetime

    file = saved(tmp_path / "c.pth", {"state_dict": {}, "meta": {"time": datetime.date(2020, 1, 1)}})
    assert "it holds datetime.date, and" in export(checkpoint=file)
    file = saved(tmp_path / "c.pth", {"state_dict": {}, "meta": {"folder": Path("a")}})
    assert "it holds pathlib.PosixPath, and" in export(checkpoint=file)


def test_a_file_that_is_no_checkpoint(signs: Path, tmp_path: Path, export: Callable[..., str]) -> None:
    import torch

    assert "nowhere.pth does not exist" in export(checkpoint=tmp_path / "nowhere.pth")
    file = tmp_path / "c.pth"
    file.write_text("hello")
    assert "is not a PyTorch checkpoint" in export(checkpoint=file)
    file.write_bytes(b"")
    assert "is not a PyTorch checkpoint" in export(checkpoint=file)
    whole = (signs / "signs.pth").read_bytes()
    for length in (100, len(whole) // 2, len(whole) - 10):
        file.write_bytes(whole[:length])
        assert "is damaged or truncated" in export(checkpoint=file)
    old = saved(file, {"state_dict": {"a": torch.zeros(99)}}, _use_new_zipfile_serialization=False).read_bytes()
    for length in (10, 60, len(old) - 10):
        file.write_bytes(old[:length])
        assert "is damaged or truncated" in export(checkpoint=file)
    assert "holds a list, not a dictionary" in export(checkpoint=saved(file, [1, 2]))
    assert "has no 'state_dict' of tensors" in export(checkpoint=saved(file, {"epoch": 3}))
    assert "has no 'state_dict' of tensors" in export(checkpoint=saved(file, {"state_dict": {"a": 3}}))


def test_a_checkpoint_that_does_not_fit_its_config(signs: Path, tmp_path: Path, export: Callable[..., str]) -> None:
    text = (signs / "config.py").read_text()
    other = tmp_path / "other.py"
    other.write_text(text.replace("depth=18", "depth=34"))
    message = export(config=other)
    assert f"checkpoint {signs / 'signs.pth'} does not fit config {other}" in message
    assert re.search(r"\d+ missing \(first: backbone\.layer1\.2\.conv1\.weight\)", message)
    assert "Use the config that the checkpoint was trained with." in message
    other.write_text(text.replace("feat_channels=48", "feat_channels=32"))
    assert "of another shape (first: bbox_head.cls_convs.0.conv.weight)" in export(config=other)

    state = weights(signs)
    short = {name: value for name, value in state.items() if not name.endswith("retina_cls.bias")}
    message = export(checkpoint=saved(tmp_path / "c.pth", {"state_dict": short}))
    assert "1 missing (first: bbox_head.retina_cls.bias)" in message
    long = {**state, "neck.extra": state["bbox_head.retina_cls.bias"]}
    assert "1 unknown (first: neck.extra)" in export(checkpoint=saved(tmp_path / "c.pth", {"state_dict": long}))
    bad = {**state, "bbox_head.retina_cls.bias": state["bbox_head.retina_cls.bias"] * float("nan")}
    assert "not finite (first: bbox_head" in export(checkpoint=saved(tmp_path / "c.pth", bad))


CONFIGS = {
    "empty": ("", "has no 'model'"),
    "no model": ("work_dir = 'x'\n", "has no 'model'"),
    "model is a name": ("model = 'RetinaNet'\n", "has no 'model'"),
    "model without a type": ("model = dict(backbone=dict(type='ResNet'))\n", "has no 'model'"),
    "syntax error": ("model = dict(type='RetinaNet'\n", "cannot be read: SyntaxError"),
    "fails": ("raise RuntimeError('two\\nlines')\n", "cannot be read: RuntimeError: two lines"),
    "base is missing": ("_base_ = './nowhere.py'\n", "cannot be read: "),
    "binary": ("\0\1\2", "cannot be read: "),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_config_that_describes_no_detector(kind: str, tmp_path: Path, export: Callable[..., str]) -> None:
    text, expected = CONFIGS[kind]
    (tmp_path / "c.py").write_text(text)
    message = export(config=tmp_path / "c.py")
    assert f"config {tmp_path / 'c.py'}" in message
    assert expected in message


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("dict(type='ResNet', depth=18)", "describes a ResNet, which is not an mmdet detector"),
        ("dict(type='FPN', in_channels=[8], out_channels=8, num_outs=1)", "describes a FPN, which is not an mmdet"),
        ("dict(type='RetinaNett')", "cannot be built: .*RetinaNett"),
        ("dict(type='RetinaNet', depth=18)", "cannot be built: .*depth"),
        ("dict(type='RetinaNet', backbone=dict(type='ResNet', depth=17))", "cannot be built: "),
    ],
)
def test_a_model_that_is_no_detector(
    model: str, expected: str, signs: Path, tmp_path: Path, export: Callable[..., str]
) -> None:
    text = (signs / "config.py").read_text()
    (tmp_path / "c.py").write_text(f"{text}\nmodel = {model}\n")
    message = export(config=tmp_path / "c.py")
    assert re.search(expected, message)
    assert f"config {tmp_path / 'c.py'}" in message


def test_arguments_that_are_no_source(
    signs: Path, tmp_path: Path, export: Callable[..., str], cli: Cli, capfd: Any
) -> None:
    assert "nowhere.py does not exist" in export(config=tmp_path / "nowhere.py")
    unknown = export(config=tmp_path / "a.txt")
    assert "is not a model of a known kind. Pass one of these: MODEL.onnx (kind onnx), or torchvision:" in unknown
    swapped = export(config=signs / "signs.pth", checkpoint=signs / "config.py")
    assert f"The two are swapped. Pass {signs / 'config.py'} {signs / 'signs.pth'}." in swapped
    assert "is not a model of a known kind" in refused(cli("export", signs / "config.py", "-o", tmp_path / "x"), capfd)
    assert "is two files, in this order. Pass CONFIG.py CHECKPOINT.pth" in refused(
        cli("export", signs / "config.py", "-o", tmp_path / "x", "--source", "mmdet"), capfd
    )
    assert "there is no source 'mmdett'. Did you mean 'mmdet'?" in export("--source", "mmdett")


def test_an_unknown_layer(export: Callable[..., str]) -> None:
    message = export("--layer", "neck", "--layer", "bakcbone")
    assert "has no layer 'bakcbone'. Did you mean 'backbone'" in message
    assert re.search(r"There are: .*backbone.*neck", message)


def test_a_sample_that_cannot_be_read(tmp_path: Path, export: Callable[..., str]) -> None:
    assert "nowhere.jpg does not exist" in export("--sample", tmp_path / "nowhere.jpg")
    (tmp_path / "a.jpg").touch()
    assert "a.jpg is empty" in export("--sample", tmp_path / "a.jpg")


@pytest.mark.parametrize("shape", ["320", "320x", "x320", "0x320", "320x-1", "320x320x3", "axb", "²x2", "99999x99999"])
def test_a_shape_that_is_none(shape: str, signs: Path, tmp_path: Path, cli: Cli) -> None:
    done = cli("export", signs / "config.py", signs / "signs.pth", "-o", tmp_path / "x", "--shape", shape)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "is not a height and a width" in done.stderr
    assert os.listdir(tmp_path) == []


def test_a_shape_that_the_model_cannot_take(export: Callable[..., str]) -> None:
    assert "--shape 300x320: this model needs multiples of 32. Pass --shape 320x320" in export("--shape", "300x320")


def test_an_operator_that_only_a_compiled_mmcv_has(signs: Path, tmp_path: Path, export: Callable[..., str]) -> None:
    from boxcam.export.sources.openmmlab.compat import bridged
    from boxcam.export.sources.openmmlab.config import read_config
    from boxcam.export.sources.openmmlab.export import build

    if importlib.util.find_spec("mmcv._ext") is not None:
        return  # then nothing is missing
    text = (signs / "config.py").read_text()
    file = tmp_path / "c.py"
    file.write_text(
        text.replace('type="FPN"', 'type="FPN_CARAFE"').replace('        add_extra_convs="on_output",\n', "")
    )
    with bridged():
        state = build(read_config(str(file)), str(file)).state_dict()
    message = export(config=file, checkpoint=saved(tmp_path / "c.pth", {"state_dict": state}))
    assert "the model calls mmcv's operator 'carafe_forward', which mmcv-lite does not have" in message
