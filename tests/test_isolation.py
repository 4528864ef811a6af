"""Explaining needs no training framework: in a clean interpreter, and in an environment that has none."""

from __future__ import annotations

import importlib.util
import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx.utils
import pytest

import boxcam
from boxcam.commands.demo import DATA

FORBIDDEN = ("onnx", "onnx_ir", "onnxscript", "torch", "torchvision", "mmdet", "mmengine", "mmcv", "mmdeploy", "mmyolo")
LIGHT = ("boxcam", "boxcam.bundle", "boxcam.errors", "boxcam.types", "boxcam.registry", "boxcam.inspection")


def modules_of(package: str) -> list[str]:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    found = pkgutil.walk_packages(spec.submodule_search_locations, f"{package}.")
    return [package, *(module.name for module in found)]


def loaded_after(code: str, *arguments: str | Path, python: str = sys.executable) -> set[str]:
    """Names of the packages that a fresh interpreter has loaded after some code."""
    code = f"import sys\n{code}\nprint('loaded:', *sorted({{name.split('.')[0] for name in sys.modules}}))"
    command = [python, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_importing_boxcam_loads_nothing_else() -> None:
    assert not loaded_after("import boxcam; dir(boxcam)") & {"numpy", "cv2", "onnxruntime", "click", *FORBIDDEN}


def test_runtime_explain_and_the_command_line_import_no_framework() -> None:
    modules = [*modules_of("boxcam.runtime"), *modules_of("boxcam.explain"), "boxcam.cli", *LIGHT]
    assert len(modules) > 15
    code = "\n".join(f"import {module}" for module in modules)
    loaded = loaded_after(code)
    assert "numpy" in loaded
    assert not loaded & set(FORBIDDEN)


@pytest.mark.parametrize("module", modules_of("boxcam.runtime") + modules_of("boxcam.explain"))
def test_no_file_of_theirs_names_a_framework_but_the_torchscript_engine(module: str) -> None:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    text = Path(spec.origin).read_text(encoding="utf-8")
    imports = re.findall(r"^(\s*)(?:import|from) +(\w+)", text, re.MULTILINE)
    allowed = {"torch"} if module == "boxcam.runtime.engines" else set()
    named = {(indent != "", package) for indent, package in imports if package in FORBIDDEN}
    assert named <= {(True, package) for package in allowed}  # and there inside a function only


def test_looking_at_a_bundle_needs_neither_torch_nor_onnxruntime(signs_bundle: Path) -> None:
    code = "from boxcam.cli import main\nmain(['inspect', sys.argv[1]], standalone_mode=False)"
    assert not loaded_after(code, signs_bundle) & {"onnxruntime", *FORBIDDEN}


UNUSED = (
    *("boxcam.export", "boxcam.inspection", "cProfile", "email", "http", "importlib.metadata", "multiprocessing"),
    *("numpy.f2py", "numpy.ma", "numpy.random", "numpy.testing", "sqlite3", "ssl", "unittest", "xml"),
)


def test_explaining_loads_only_what_it_uses(signs: Path, signs_bundle: Path, tmp_path: Path) -> None:
    code = """
import sys
from boxcam.cli import main
main(["explain", *sys.argv[1:], "-q"], standalone_mode=False)
for name, module in sorted(sys.modules.items()):
    print(name, "site-packages" in (getattr(module, "__file__", None) or ""))
"""
    given = [str(signs_bundle), str(signs / "images" / "cat.jpg"), "-o", str(tmp_path), "--threads", "1"]
    given += ["--method", "gradcam"]  # whose product over channels needs most
    done = subprocess.run([sys.executable, "-c", code, *given], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(os.listdir(tmp_path)) == ["cat.json", "cat.npz", "cat.png", "index.html"]
    loaded = dict(line.split() for line in done.stdout.splitlines())
    installed = {name.split(".")[0] for name, from_there in loaded.items() if from_there == "True"}
    own = {name for name in installed if not name.startswith("_")} - {"boxcam"}
    assert own == {"click", "cv2", "numpy", "onnxruntime", "threadpoolctl"}
    assert not [name for name in loaded if f"{name}.".startswith(tuple(f"{unused}." for unused in UNUSED))]


@pytest.mark.parametrize(
    ("package", "advice"),
    [
        (
            "torch",
            "PyTorch is needed, and is not installed here. Install it with: pip install torch",
        ),
        (
            "onnxruntime",
            "ONNX Runtime is needed, and is not installed here. Install it with: pip install 'boxcam[cpu]'",
        ),
    ],
)
def test_a_package_that_explaining_needs_is_missing(
    package: str, advice: str, signs: Path, signs_bundle: Path, tmp_path: Path
) -> None:
    code = f"import sys; sys.modules['{package}'] = None; from boxcam.cli import main; main()"
    given = [str(signs_bundle), str(signs / "images"), "-o", str(tmp_path / "o"), "--engine", "torchscript"]
    command = [sys.executable, "-c", code, "explain", *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"boxcam: [^\n]+\n", done.stderr)
    assert advice in done.stderr
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("package", ["onnx_ir", "torch", "mmdet"])
def test_a_package_that_exporting_needs_is_missing(package: str, signs: Path, tmp_path: Path) -> None:
    code = f"import sys; sys.modules['{package}'] = None; from boxcam.cli import main; main()"
    given = [str(signs / "config.py"), str(signs / "signs.pth"), "-o", str(tmp_path / "x.boxcam")]
    done = subprocess.run([sys.executable, "-c", code, "export", *given], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(rf"boxcam: [^\n]*{package}[^\n]* not installed[^\n]*\n", done.stderr), done.stderr
    assert os.listdir(tmp_path) == []


def test_an_onnx_file_is_exported_without_torch(signs: Path, tmp_path: Path) -> None:
    """By ``boxcam[onnx]``, and without a warning: nothing is missing unless TorchScript gradients were asked for."""
    onnx.utils.extract_model(DATA / "signs" / "forward.onnx", tmp_path / "model.onnx", ["image"], ["dets", "labels"])
    code = "import sys; sys.modules['torch'] = None; from boxcam.cli import main; main()"
    given = ["export", "model.onnx", "--preprocess", "imagenet", "--sample", str(signs / "images" / "cat.jpg")]
    for engine in ("auto", "onnx"):
        command = [sys.executable, "-c", code, *given, "-o", f"{engine}.boxcam", "--engine", engine]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        assert boxcam.load(tmp_path / f"{engine}.boxcam").manifest.layers[0].engines == ("onnx",)
    command = [sys.executable, "-c", code, *given, "-o", "both.boxcam", "--engine", "both"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "exporting needs torch, which is not installed here. Install boxcam's 'export' extra" in done.stderr


# The environment that users have who only explain: boxcam as a wheel with its extra [cpu], and nothing of the above


def clean(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command away from the checkout, without this process's Python settings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, cwd=cwd, env=environment
    )


def test_the_runtime_environment_has_no_framework(runtime_python: str, tmp_path: Path) -> None:
    code = (
        "import importlib.util as u, boxcam, sys;"
        "print(*[n for n in sys.argv[1:] if u.find_spec(n)]);"
        "print(boxcam.__version__, boxcam.__file__)"
    )
    done = clean(runtime_python, "-c", code, *FORBIDDEN, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    there, version = done.stdout.splitlines()
    assert there == "", "torch above all"
    assert version.startswith(f"{boxcam.__version__} ")
    assert "site-packages" in version  # the installed wheel, not this checkout


def test_explaining_there_gives_what_it_gives_here(
    runtime_python: str, signs: Path, signs_bundle: Path, signs_model: boxcam.Model, tmp_path: Path
) -> None:
    shutil.copytree(signs_bundle, tmp_path / "signs.boxcam")
    shutil.copytree(signs / "images", tmp_path / "images")
    command = Path(runtime_python).parent / "boxcam"
    done = clean(command, "explain", "signs.boxcam", "images", "-o", "out", "--threads", "1", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("wrote the results of 6 of 6 pictures to out\nbrowse them in out/index.html\n")
    assert len(os.listdir(tmp_path / "out")) == 19
    for image in sorted((signs / "images").glob("*.jpg")):
        here = boxcam.explain(signs_model, image, top=10)
        with np.load(tmp_path / "out" / f"{image.stem}.npz") as there:
            maps = here.maps
            assert np.array_equal(there["labels"], here.detections.labels)
            assert np.array_equal(there["origin"], here.detections.origin)
            assert np.allclose(there["boxes"], here.detections.boxes, atol=1e-2)
            assert np.allclose(there["scores"], here.detections.scores, atol=1e-5)
            assert np.allclose(there["maps"], maps, rtol=1e-3, atol=1e-4 * maps.max())
        facts = json.loads((tmp_path / "out" / f"{image.stem}.json").read_text())
        assert [entry["name"] for entry in facts["detections"]] == list(here.detections.names)


def test_explaining_there_loads_nothing_more(
    runtime_python: str, signs: Path, signs_bundle: Path, tmp_path: Path
) -> None:
    code = (
        "import sys; from boxcam.cli import main;"
        "main(sys.argv[1:], standalone_mode=False); print(*{n.split('.')[0] for n in sys.modules})"
    )
    given = ("explain", signs_bundle, signs / "images" / "cat.jpg", "-o", tmp_path, "-q", "--top", "1")
    done = clean(runtime_python, "-c", code, *given, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(tmp_path)) == ["cat.json", "cat.npz", "cat.png", "index.html"]
    loaded = set(done.stdout.split())
    assert "onnxruntime" in loaded
    assert not loaded & set(FORBIDDEN)


def test_the_torchscript_engine_there_says_what_is_missing(
    runtime_python: str, signs: Path, signs_bundle: Path, tmp_path: Path
) -> None:
    command = Path(runtime_python).parent / "boxcam"
    given = (signs_bundle, signs / "images" / "cat.jpg", "-o", "out", "--engine", "torchscript")
    done = clean(command, "explain", *given, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("boxcam: --engine torchscript: PyTorch is needed, and is not installed here")
    assert os.listdir(tmp_path) == []


def test_exporting_there_says_what_is_missing(runtime_python: str, signs: Path, tmp_path: Path) -> None:
    command = Path(runtime_python).parent / "boxcam"
    done = clean(command, "export", signs / "config.py", signs / "signs.pth", "-o", "x.boxcam", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"boxcam: exporting needs onnx\w*, which is not installed here\. [^\n]+\n", done.stderr)
    assert os.listdir(tmp_path) == []
    for arguments in (["--help"], ["export", "--help"]):
        assert clean(command, *arguments, cwd=tmp_path).returncode == 0
