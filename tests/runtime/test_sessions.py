"""Sessions: what is asked of ONNX Runtime, and what is said when it gives something else.

No machine of the tests needs a GPU: where one would be asked for, a stand-in for ONNX Runtime writes down what it gets.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from click.testing import Result
from onnx import TensorProto, helper

import boxcam
from boxcam.bundle import FORWARD
from boxcam.errors import BoxcamWarning, BundleError, EngineError, RunError, UnknownNameError
from boxcam.runtime.sessions import CPU, CUDA, Device, Session, missing_library
from boxcam.runtime.tensors import Tensors
from tests.export.export_graphs import Net

Cli = Callable[..., Result]


@pytest.fixture
def forward(signs_bundle: Path) -> Path:
    return signs_bundle / FORWARD


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Any:
    """ONNX Runtime on a machine with a GPU, as far as it can be had without one.

    Sessions are real ones, on the CPU, that claim to have the providers in ``gets`` out of those asked for.
    """
    state = SimpleNamespace(available=[CUDA, CPU], gets=lambda asked: asked, asked=[], options={}, bound=[], preloads=0)

    class Binding:
        def __init__(self, real: Any) -> None:
            self.real = real

        def bind_output(self, name: str, memory: str) -> None:
            state.bound.append((name, memory))
            self.real.bind_output(name, "cpu")

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

    class FakeSession:
        def __init__(self, file: str, options: Any, providers: list[Any], enable_fallback: int) -> None:
            assert enable_fallback == 0  # it would print, and go on with other providers
            state.options.update(dict(name for name in providers if isinstance(name, tuple)))
            providers = [name if isinstance(name, str) else name[0] for name in providers]
            state.asked.append(providers)
            self.providers = state.gets(providers)
            self.real = onnxruntime.InferenceSession(file, options, providers=[CPU])

        def get_providers(self) -> list[str]:
            return list(self.providers)

        def io_binding(self) -> Binding:
            return Binding(self.real.io_binding())

        def run_with_iobinding(self, binding: Binding, options: Any) -> None:
            self.real.run_with_iobinding(binding.real, options)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

    def preload() -> None:
        state.preloads += 1
        sys.stdout.write("Failed to load libcudnn.so.9\n")

    module = SimpleNamespace(
        __spec__=onnxruntime.__spec__,
        __version__="1.2.3",
        InferenceSession=FakeSession,
        OrtValue=onnxruntime.OrtValue,
        RunOptions=onnxruntime.RunOptions,
        SessionOptions=onnxruntime.SessionOptions,
        get_available_providers=lambda: state.available,
        preload_dlls=preload,
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", module)
    return state


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, *records: str) -> None:
    """Make it look as if ONNX Runtime were in a folder, with the records of these distributions beside it."""
    (folder / "onnxruntime").mkdir()
    for record in records:
        (folder / f"{record}.dist-info").mkdir()
    spec = SimpleNamespace(submodule_search_locations=[str(folder / "onnxruntime")])
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "boxcam.runtime.sessions.importlib.util.find_spec",
        lambda name, package=None: spec if name == "onnxruntime" else real(name, package),
    )


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        (Device(), (CPU,)),
        (Device("cuda"), (CUDA, CPU)),
        (Device("cpu", providers=("XnnpackExecutionProvider",)), ("XnnpackExecutionProvider", CPU)),
        (Device("cuda", providers=("TensorrtExecutionProvider", CUDA)), ("TensorrtExecutionProvider", CUDA, CPU)),
        (Device("cuda", providers=(CPU,)), (CPU,)),
    ],
)
def test_a_device_means_providers_and_the_cpu_is_the_last(device: Device, expected: tuple[str, ...]) -> None:
    assert device.wanted == expected


def test_devices_that_are_not_there() -> None:
    with pytest.raises(UnknownNameError, match=r"no device 'gpu'\. Did you mean 'cuda'\? There are: cpu, cuda\."):
        Device("gpu")
    with pytest.raises(ValueError, match="threads=-1"):
        Device(threads=-1)


def test_options_are_passed_on(forward: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    real = onnxruntime.InferenceSession

    def opened(file: str, options: Any, providers: list[str], **more: Any) -> Any:
        seen.append((options, providers))
        return real(file, options, providers=providers, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", opened)
    session = Session(forward, Device(threads=3))
    ((options, providers),) = seen
    assert options.intra_op_num_threads == 3
    assert options.get_session_config_entry("session.force_spinning_stop") == "1"
    assert (providers, session.providers) == ([CPU], (CPU,))


def test_a_run_gives_the_numbers_of_onnxruntime_without_a_copy(forward: Path) -> None:
    session = Session(forward, Device(threads=1))
    assert session.inputs == {"image": (1, 3, 320, 320)}
    image = np.random.default_rng(0).normal(size=(1, 3, 320, 320)).astype(np.float32)
    names = list(session.outputs)
    found = session.run(Tensors({"image": image, "more": image}), names, keep=names[-1:])
    plain = onnxruntime.InferenceSession(str(forward), providers=[CPU])
    for name, expected in zip(names, plain.run(names, {"image": image}), strict=True):
        assert np.array_equal(found[name], expected)
        assert found[name].size == 0 or found[name].ctypes.data == found.ort(name).data_ptr()
    again = session.run(Tensors({"image": image * 0}), names)
    assert np.array_equal(found[names[-1]], plain.run(names[-1:], {"image": image})[0])  # a run takes new memory
    assert not np.array_equal(again[names[-1]], found[names[-1]])
    kept = found[names[-1]].copy()
    del session, again
    assert np.array_equal(found[names[-1]], kept)


def test_a_run_that_fails_names_the_graph(forward: Path) -> None:
    session = Session(forward, Device(threads=1))
    with pytest.raises(
        EngineError, match=r"forward\.onnx failed in ONNX Runtime \(CPUExecutionProvider\): ."
    ) as caught:
        session.run(Tensors({"image": np.zeros((1, 3, 8, 8), np.float32)}), ["dets"])
    assert "\n" not in str(caught.value)


def test_a_run_that_fails_where_nothing_is_found_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    """Above 0.5 of the image, as rows of 4, the way a torch export writes ``x.reshape(len(x), -1)``."""
    net = Net()
    image = net.input("image", (6, 4))
    rows = net.Compress(image, net.Greater(net.ReduceMax(image, np.array([1]), keepdims=0), np.float32(0.5)), axis=0)
    size = net.Concat(net.Gather(net.Shape(rows), np.array([0])), np.array([-1]), axis=0)
    net.node("Reshape", [rows, size], name="rows")
    model = helper.make_model(
        net.graph({"rows": TensorProto.FLOAT}), opset_imports=[helper.make_opsetid("", 18)], ir_version=9
    )
    session = Session(model.SerializeToString(), Device(threads=1))
    assert session.run(Tensors({"image": np.ones((6, 4), np.float32)}), ["rows"])["rows"].shape == (6, 4)
    said = (
        "the graph failed .*: the model finds nothing there, and its own Reshape .* cannot process an empty tensor"
        r" \[0, 4\]\."
    )
    with pytest.raises(RunError, match=said):
        session.run(Tensors({"image": np.zeros((6, 4), np.float32)}), ["rows"])
    assert capfd.readouterr() == ("", "")  # onnxruntime does not log it beside


def test_a_file_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    (tmp_path / "neck.onnx").write_bytes(b"\x08\x01")
    with pytest.raises(BundleError, match=r"neck\.onnx cannot be loaded by ONNX Runtime \d") as caught:
        Session(tmp_path / "neck.onnx", Device())
    assert "\n" not in str(caught.value)


def test_on_cuda_what_goes_on_into_another_graph_stays_there(
    forward: Path, fake: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    session = Session(forward, Device("cuda"))
    assert (fake.asked, session.providers, fake.preloads) == ([[CUDA, CPU]], (CUDA, CPU), 1)
    assert capsys.readouterr() == ("", "")  # of what the preloading prints, nothing is seen
    image = np.zeros((1, 3, 320, 320), np.float32)
    session.run(Tensors({"image": image}), ["dets", "logit", "origin"], keep=["logit"])
    assert fake.bound == [("dets", "cpu"), ("logit", "cuda"), ("origin", "cpu")]


def test_on_the_cpu_nothing_of_cuda_is_touched(forward: Path, fake: Any) -> None:
    Session(forward, Device()).run(Tensors({"image": np.zeros((1, 3, 320, 320), np.float32)}), ["logit"], ["logit"])
    assert (fake.asked, fake.preloads, fake.bound) == ([[CPU]], 0, [("logit", "cpu")])


def test_cuda_that_is_not_built_in_is_said_and_the_cpu_goes_on(forward: Path, fake: Any) -> None:
    fake.available = ["AzureExecutionProvider", CPU]
    with pytest.warns(BoxcamWarning) as caught:
        session = Session(forward, Device("cuda"))
    (warning,) = caught
    assert str(warning.message) == (
        "CUDAExecutionProvider is not available, so the CPU is used instead: ONNX Runtime has only"
        " AzureExecutionProvider,"
        " CPUExecutionProvider here. On an NVIDIA GPU: pip uninstall onnxruntime, then pip install 'boxcam[gpu]'."
    )
    assert (fake.asked, fake.preloads, session.providers) == ([[CPU]], 0, (CPU,))


@pytest.mark.parametrize("device", [Device("cuda"), Device(providers=(CUDA,))])
def test_a_session_that_falls_back_is_said(device: Device, forward: Path, fake: Any) -> None:
    fake.gets = lambda asked: [CPU]
    with pytest.warns(
        BoxcamWarning, match=r"^CUDA\w+ is not available, so the CPU is used instead: it could not be started"
    ) as all_:
        session = Session(forward, device)
    assert len(all_) == 1
    session.run(Tensors({"image": np.zeros((1, 3, 320, 320), np.float32)}), ["logit"], ["logit"])
    assert fake.bound == [("logit", "cpu")]


def test_what_keeps_a_provider_from_starting_is_said(
    forward: Path, fake: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def none(asked: list[str]) -> list[str]:
        if CUDA in asked:
            raise RuntimeError(
                "/src/cuda_call.cc:154 std::conditional_t<THRW, void, Status> CudaCall(ERRTYPE, const char*, int) [with"
                " bool THRW = true] CUDA failure 100: no CUDA-capable device is detected ; GPU=-1 ; hostname=vm ;"
                " file=/src/cuda_execution_provider.cc ; line=355 ; expr=cudaSetDevice(info_.device_id); \n\n"
            )  # as ONNX Runtime 1.31 raises it
        return asked

    fake.gets = none
    with pytest.warns(BoxcamWarning) as caught:
        session = Session(forward, Device("cuda"))
    (warning,) = caught
    assert str(warning.message) == (
        "CUDAExecutionProvider is not available, so the CPU is used instead: it could not be started: CUDA failure 100:"
        " no CUDA-capable device is detected."
    )
    assert (fake.asked, session.providers) == ([[CUDA, CPU], [CPU]], (CPU,))
    assert capsys.readouterr() == ("", "")


def test_a_graph_that_no_provider_loads_is_an_error_and_no_fallback(tmp_path: Path, fake: Any) -> None:
    (tmp_path / "neck.onnx").write_bytes(b"\x08\x01")
    with pytest.raises(BundleError, match=r"neck\.onnx cannot be loaded by ONNX Runtime 1\.2\.3"):
        Session(tmp_path / "neck.onnx", Device("cuda"))
    assert fake.asked == [[CUDA, CPU], [CPU]]


def test_a_providers_library_that_lacks_another_one_is_named(tmp_path: Path) -> None:
    runtime = SimpleNamespace(__file__=str(tmp_path / "__init__.py"))
    assert missing_library(runtime, CUDA) == ""  # not there: another build of ONNX Runtime
    (tmp_path / "capi").mkdir()
    library = tmp_path / "capi" / "libonnxruntime_providers_cuda.so"
    library.write_bytes(b"no library")
    assert missing_library(runtime, CUDA) == f"{library}: file too short"
    assert missing_library(runtime, CPU) == ""


def test_cuda_computes_in_float32_and_not_in_tf32(forward: Path, fake: Any) -> None:
    Session(forward, Device("cuda"))
    assert fake.options[CUDA]["use_tf32"] == "0"


def test_a_provider_that_is_not_there(forward: Path) -> None:
    have = re.escape(", ".join(onnxruntime.get_available_providers()))
    with pytest.raises(
        UnknownNameError, match=rf"no execution provider 'CUDA' here\. Pass providers= one of: {have}\."
    ):
        Session(forward, Device(providers=("CUDA",)))


@pytest.mark.parametrize(
    "records", [(), ("onnxruntime-1.20.0",), ("onnxruntime_gpu-1.20.0", "onnxruntime_extensions-1")]
)
def test_one_runtime_is_as_it_should_be(
    records: tuple[str, ...], forward: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, *records)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Session(forward, Device())


BOTH = "onnxruntime-1.20.0", "onnxruntime_gpu-1.19.2"
CLASH = (
    r"onnxruntime 1\.20\.0 and onnxruntime-gpu 1\.19\.2 are both installed here and overwrite each other's files."
    " Repair it with:"
    r" pip uninstall onnxruntime onnxruntime-gpu, then pip install 'boxcam\[cpu\]' or 'boxcam\[gpu\]', not both\.$"
)


def test_two_runtimes_that_work_are_a_warning(
    forward: Path, fake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, *BOTH)
    for device in (Device(), Device("cuda")):
        with pytest.warns(BoxcamWarning, match=rf"^{CLASH}"):
            Session(forward, device)
    assert fake.asked == [[CPU], [CUDA, CPU]]


def test_two_runtimes_without_the_cuda_that_was_asked_for_are_an_error(
    forward: Path, fake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, *BOTH)
    fake.available = [CPU]
    with (
        pytest.warns(BoxcamWarning),
        pytest.raises(EngineError, match=rf"^ONNX Runtime has no CUDAExecutionProvider here: {CLASH}"),
    ):
        Session(forward, Device("cuda"))


@pytest.mark.parametrize("broken", [None, SimpleNamespace(__spec__=None)])
def test_two_runtimes_that_do_not_work_are_an_error(
    broken: Any, forward: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, *BOTH)
    monkeypatch.setitem(sys.modules, "onnxruntime", broken)
    with pytest.raises(EngineError, match=rf"^{CLASH}"):
        Session(forward, Device())


def test_what_an_uninstalled_runtime_leaves_behind(forward: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(__spec__=onnxruntime.__spec__))
    with pytest.raises(
        EngineError,
        match=r"installation of ONNX Runtime is broken here \(.*InferenceSession.*\)\. Repair it with: pip"
        " uninstall",
    ):
        Session(forward, Device())


# As people meet it


def test_a_model_takes_the_device_for_forward_and_gradient(signs_bundle: Path, fake: Any) -> None:
    model = boxcam.load(signs_bundle, threads=1, device="cuda")
    assert fake.asked == [[CUDA, CPU]]
    layer = model.runtime.layer()
    model.runtime.predict(np.zeros((8, 8, 3), np.uint8), layer)
    kept = {name for name, memory in fake.bound if memory == "cuda"}
    assert kept == {tensor.name for tensor in layer.tensors} | set(model.runtime.gradient(layer).context)
    model.runtime.engine(model.runtime.gradient(layer))
    assert fake.asked.pop() == [CUDA, CPU]
    one = boxcam.load(signs_bundle, providers=CPU)
    assert fake.asked[1:] == [[CPU]]
    assert len(one.detect(np.zeros((8, 8, 3), np.uint8))) >= 0


def test_what_a_model_ran_on_is_told_and_not_what_was_asked_for(signs_bundle: Path, fake: Any) -> None:
    image = np.zeros((8, 8, 3), np.uint8)

    def told(gets: tuple[str, ...], **asked: Any) -> tuple[str, list[str]]:
        fake.gets = lambda providers: gets
        fake.available = [CUDA, "OpenVINOExecutionProvider", CPU]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BoxcamWarning)
            model = boxcam.load(signs_bundle, **asked)
            facts = model.explain(image).facts()
        assert facts["device"] == model.device
        assert repr(model).endswith(f"on {model.device}>")
        return facts["device"], facts["providers"]

    assert told((CUDA, CPU), device="cuda") == ("cuda", [CUDA, CPU])
    assert told((CPU,), device="cuda") == ("cpu", [CPU])  # it could not be started
    assert told((CUDA, CPU), providers=CUDA) == ("cuda", [CUDA, CPU])
    other = "OpenVINOExecutionProvider"
    assert told((other, CPU), providers=other) == ("openvino", [other, CPU])
    assert told((CPU,), providers=other) == ("cpu", [CPU])


def test_the_gradient_does_not_try_again_what_the_forward_pass_could_not_have(signs_bundle: Path, fake: Any) -> None:
    fake.gets = lambda asked: [CPU]
    with pytest.warns(BoxcamWarning) as caught:
        model = boxcam.load(signs_bundle, threads=1, device="cuda")
    model.runtime.engine(model.runtime.gradient(model.runtime.layer()))
    assert (len(caught), fake.asked) == (1, [[CUDA, CPU], [CPU]])


def test_the_command_line_says_that_it_falls_back_once(
    cli: Cli, signs: Path, signs_bundle: Path, tmp_path: Path
) -> None:
    assert CUDA not in onnxruntime.get_available_providers()
    given = ["explain", signs_bundle, signs / "images" / "cat.jpg", "-o", tmp_path, "--top", "1", "--threads", "1"]
    plain, done = cli(*given), cli(*given, "--device", "cuda")
    assert (plain.exit_code, plain.stderr) == (0, "")
    assert done.exit_code == 0
    assert done.stdout == plain.stdout
    said = done.stderr.splitlines()
    assert said[0].startswith(
        "boxcam: warning: CUDAExecutionProvider is not available, so the CPU is used instead: ONNX Runtime"
    )
    assert len(said) == len({*said})
    again = cli(*given, "--device", "cuda", "-q")
    assert (again.exit_code, again.stdout, again.stderr) == (0, "", done.stderr)


def test_the_command_line_takes_providers(cli: Cli, signs: Path, signs_bundle: Path, tmp_path: Path) -> None:
    given = ["explain", signs_bundle, signs / "images" / "cat.jpg", "-o", tmp_path / "o", "--top", "1", "-q"]
    done = cli(*given, "--provider", CPU, "--provider", "NoSuchProvider")
    assert (done.exit_code, done.stdout) == (1, "")
    assert re.fullmatch(r"boxcam: ONNX Runtime has no execution provider 'NoSuchProvider' here\. [^\n]+\n", done.stderr)
    assert not (tmp_path / "o").exists()
    assert cli(*given, "--provider", CPU, "--threads", "1").exit_code == 0
    shutil.rmtree(tmp_path / "o")


def test_warnings_of_others_are_shown_as_python_shows_them(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from boxcam import bundle

    def read(path: str) -> None:
        warnings.warn("of another", UserWarning, stacklevel=1)
        warnings.warn("of\nours", BoxcamWarning, stacklevel=1)
        warnings.warn("of\nours", BoxcamWarning, stacklevel=1)
        raise BundleError("stop")

    monkeypatch.setattr(bundle, "read", read)
    with pytest.warns(UserWarning, match="of another"):
        done = cli("inspect", "b")
    assert done.stderr.splitlines() == ["boxcam: warning: of ours"] * 2 + ["boxcam: stop"]
