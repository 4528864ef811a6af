"""The benchmark on a detector of a few channels: its maps are compared, its tables are written; no time is judged."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import launch, measure, report, torch_methods
from benchmarks.cases import Subject, cached, graph_subject, onnx_graph
from benchmarks.cold import ColdStart, ColdStartError, cold_starts
from benchmarks.equality import Array, DisagreementError, deviation, require
from benchmarks.measure import BATCHED, CELLS, DRISE, ENGINES, LIBRARIES, LOOP, WHOLE, Figure, Measured, Row, Settings
from benchmarks.run import main
from benchmarks.timing import added, medians
from tests.benchmarks.tiny import Tiny

SETTINGS = Settings(counts=(1, 4, 20), repeats=1, slow_repeats=1, batch=2, without=tuple(LIBRARIES))


@pytest.fixture(scope="module")
def subject() -> Subject:
    torch.manual_seed(3)
    module, image = Tiny().eval(), torch.randn(1, 3, 24, 32)
    graph = onnx_graph(module, image, ["logits0", "logits1", "neck0", "neck1"])
    return graph_subject(graph, module, image, list(module.out), 20, 1)


@pytest.fixture(scope="module")
def measured(subject: Subject) -> Measured:
    return measure.measure("tiny", "Tiny 24x32", subject, SETTINGS, lambda words: None)


def test_all_methods_give_the_same_maps(measured: Measured) -> None:
    deviations = {row.method: row.deviation for row in measured.rows}
    assert list(deviations) == [ENGINES["onnx"], CELLS, WHOLE, LOOP, BATCHED, DRISE]
    assert all(deviations[name] <= 1e-5 for name in (ENGINES["onnx"], WHOLE, LOOP, BATCHED))  # type: ignore[operator]
    assert deviations[DRISE] is None
    assert set(measured.levels) == {0, 1}
    assert sum(measured.levels.values()) == 20


def test_what_is_extrapolated_says_so(measured: Measured) -> None:
    marked = {
        row.method: [row.figures[n].extrapolated for n in (1, 4, 20) if n in row.figures] for row in measured.rows
    }
    assert marked == {
        ENGINES["onnx"]: [False, False, False],
        CELLS: [False, False, False],
        WHOLE: [False, True, True],
        LOOP: [False, True, True],
        BATCHED: [True, True],
        DRISE: [True, True, True],
    }


@pytest.mark.parametrize("wrong", ["onnx", "whole", "loop", "batched"])
def test_a_wrong_map_ends_the_benchmark(subject: Subject, monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    def spoiled(maps: Sequence[Array]) -> list[Array]:
        return [values + np.float32(0.01) * values.max() for values in maps]

    deployed = subject.deployed
    if wrong == "onnx":
        right = deployed.explain
        monkeypatch.setattr(deployed, "explain", lambda count, engine, *method: spoiled(right(count, engine, *method)))
    elif wrong == "whole":
        run = deployed.whole_maps()
        monkeypatch.setattr(deployed, "whole_maps", lambda: lambda boxes: spoiled(run(boxes)))
    else:
        method = getattr(torch_methods, wrong)

        def replaced(*given: Any, relu: bool = True) -> Any:
            made = method(*given) if relu else method(*given, relu=False)
            return (lambda: spoiled(made())) if relu else made

        monkeypatch.setattr(torch_methods, wrong, replaced)
    with pytest.raises(DisagreementError, match="deviate from the reference by"):
        measure.measure("tiny", "Tiny", subject, SETTINGS, lambda words: None)


def test_a_method_for_another_logit_ends_the_benchmark(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    origin = [[*row[:2], (row[2] + 1) % 4, *row[3:]] for row in subject.network.origin]
    monkeypatch.setattr(subject.network, "origin", origin)
    with pytest.raises(DisagreementError):
        measure.measure("tiny", "Tiny", subject, SETTINGS, lambda words: None)


def test_deviation_is_a_share_of_the_peak() -> None:
    reference = np.array([[2.0, -4.0], [1.0, 0.0]], np.float32)
    found = np.array([[2.0, 0.0], [1.5, 0.0]], np.float32)
    assert deviation(found, reference) == 0.125
    with pytest.raises(DisagreementError, match=r"box 7: a map of \[1, 2\] cells"):
        require("m", {7: found[:1]}, {7: reference})
    with pytest.raises(DisagreementError, match=r"by nan at the most \(5e-02\), in box 7"):
        require("m", {7: found * np.float32(np.nan)}, {7: reference})
    with pytest.raises(DisagreementError, match="none of its boxes"):
        require("m", {7: found * 0}, {7: -np.abs(reference)})
    with pytest.raises(DisagreementError, match="none of its boxes"):
        require("m", {}, {7: reference})


def test_one_map_may_be_off_a_little_half_of_them_may_not() -> None:
    reference = np.array([[4.0, 0.0], [1.0, 0.0]], np.float32)
    off = reference + np.array([[0.0, 0.0], [0.125, 0.0]], np.float32)  # a 32nd of the peak
    references = dict.fromkeys(range(3), reference)
    assert require("m", {0: reference, 1: off, 2: reference}, references) == 0.03125
    with pytest.raises(DisagreementError, match=r"by 3\.1e-02 of the peak in the middle"):
        require("m", {0: off, 1: off, 2: reference}, references)
    with pytest.raises(DisagreementError, match="in box 1"):
        require("m", {0: reference, 1: off + off, 2: reference}, references)
    with pytest.raises(DisagreementError, match="in box 2"):
        require("m", {0: reference, 1: reference, 2: reference * np.float32(np.nan)}, references)


def test_medians_are_of_interleaved_runs() -> None:
    order: list[str] = []
    found = medians({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2)
    assert order == ["a", "b"] * 3  # the first round is not counted
    assert set(found) == {"a", "b"}


def test_what_a_run_adds_is_compared_with_the_run_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that takes seconds longer for a while takes them for both."""
    clock, slow, order = [0.0], iter([0.0, 0.0, 50.0, 0.0, 50.0, 50.0, 0.0, 0.0]), list[str]()
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    late = [0.0]

    def base() -> None:
        late[0] = next(slow)
        order.append("base")
        clock[0] += 2.0 + late[0]

    def run(name: str, seconds: float) -> None:
        order.append(name)
        clock[0] += 2.0 + seconds + late[0]

    found = added(base, {"a": lambda: run("a", 0.5), "b": lambda: run("b", 0.25)}, 3)
    assert found == {"a": 0.5, "b": 0.25}
    assert order == ["base", "a", "base", "b"] * 4  # the first round is not counted


RESULTS = report.Results(
    measured=[
        Measured(
            case,
            "Detector",
            layer,
            0.5,
            [
                Row(ENGINES["onnx"], {1: Figure(0.004), 100: Figure(share * 0.5)}, 2e-6),
                Row(LOOP, {1: Figure(0.2), 100: Figure(20.0, True)}, 0.0),
                Row(BATCHED, {}, note="not possible"),
                Row("pytorch-grad-cam", {1: Figure(2.6), 100: Figure(260.0, True)}, 1e-6),
            ],
            {"floor": 0.5, "prepare": 0.01, "detect": 0.52, "forward": 0.53, "gradients": 0.03, "explain": 0.57},
            {0: 60, 1: 40},
        )
        for case, layer, share in (("retinanet-800", "neck", 0.08), ("retinanet-800", "backbone", 1.5))
    ],
    cold=[ColdStart("boxcam explain", 0.9, 1.0, 120.0, False)],
    settings=Settings(counts=(1, 100)),
    threads=2,
)


def test_the_table() -> None:
    lines = report.table(RESULTS).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len({len(line) for line in lines}) == 1
    assert cells[2] == ["Detector, neck", "forward pass alone", "500 ms", "500 ms", "", ""]
    assert cells[3] == ["Detector, neck", ENGINES["onnx"], "< 5.0 ms (< 1%)", "40 ms (8.0%)", "x 1.00", "2e-06"]
    assert cells[4] == ["Detector, neck", LOOP, "200 ms (40%)", "20.0 s (40x)*", "x 38", "reference"]
    assert cells[5] == ["Detector, neck", BATCHED, "–", "–", "–", "not possible"]
    assert cells[6][-3:] == ["260 s (520x)*", "x 482", "1e-06"]


def test_targets_are_judged() -> None:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in report.targets(RESULTS).splitlines()[2:]]
    assert [(row[2], row[3]) for row in rows] == [
        ("8.0%", "yes"),
        ("482 times", "yes"),
        ("150.0%", "no"),
        ("not measured", ""),
        ("900 ms", "yes"),
        ("120 MB", "yes"),
    ]


def test_the_page_is_whole() -> None:
    page = report.page(RESULTS)
    assert page.startswith("<!-- Generated by `make bench`")
    assert "$ make bench" in page
    assert "${" not in page
    assert page.count("| Detector, backbone") == 6


def test_what_is_missing_or_unknown_is_said_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(torch_methods.MODULES, "pytorch-grad-cam", "not_installed_anywhere")
    assert main(["--only", "yolo-320"]) == 1
    said = capsys.readouterr().err
    assert "pytorch-grad-cam cannot be imported" in said
    assert "--without" in said
    assert main(["--only", "yolo-3200"]) == 1
    assert "yolo-3200. Cases: retinanet-320" in capsys.readouterr().err


def test_models_are_made_anew_only_when_something_changed(tmp_path: Path) -> None:
    made: list[Path] = []
    folder = cached(tmp_path, "model", made.append)
    assert cached(tmp_path, "model", made.append) == folder
    assert made == [folder]
    (folder / "made-by").write_text("other code")
    cached(tmp_path, "model", made.append)
    assert made == [folder, folder]


def test_a_process_is_timed_to_its_first_picture(tmp_path: Path) -> None:
    out = tmp_path / "out"
    job = f"import pathlib, time; p = pathlib.Path({str(out)!r}); p.mkdir(); time.sleep(.2); (p / 'a.png').touch()"
    command = [sys.executable, "-S", launch.__file__, str(out), sys.executable, "-c", f"{job}; time.sleep(.2)"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert found["code"] == 0
    assert 0.2 <= found["first"] <= found["total"] - 0.1
    assert 3 < found["peak"] < 100  # a bare interpreter's, and not that of this process with torch in it


def test_the_demo_starts_cold(signs_bundle: Path) -> None:
    (found,) = cold_starts(signs_bundle, Path(sys.executable), 1, 1, torch_too=False)
    assert found.with_torch
    assert 0 < found.first <= found.total
    assert found.peak > 20
    with pytest.raises(ColdStartError, match="boxcam explain failed"):
        cold_starts(signs_bundle / "no.boxcam", Path(sys.executable), 1, 1, torch_too=False)
    with pytest.raises(ColdStartError, match=r"nowhere/python does not run .*: give --runtime-python"):
        cold_starts(signs_bundle, Path("nowhere/python"), 1, 1, torch_too=False)


def test_every_method_has_a_place_in_the_table() -> None:
    assert set(torch_methods.MODULES) == set(LIBRARIES)
    assert len(set(measure.METHODS)) == len(measure.METHODS)
    assert dataclasses.is_dataclass(Row)
