"""The whole benchmark: train what is missing, export, intervene, measure, and write a page.

    python -m examples.truth.run                              all, two hours on one core
    python -m examples.truth.run clean-0 far-0.975-0          these detectors, added to what was measured before
    python -m examples.truth.run --further                    the cues of further.json alone, twenty minutes
    python -m examples.truth.run --second                     the second architecture alone, twenty minutes
    python -m examples.truth.run --page                       the page alone, from results.json
    python -m examples.truth.run --reduced                    a minute: is results.json still what is measured?

`make truth` runs it. Figures of each detector are kept in .build/truth.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import boxcam
from boxcam.export.sources.openmmlab import compat
from examples.truth import nowhere, page, results
from examples.truth.bundles import export
from examples.truth.intervene import Reliance, intervene
from examples.truth.measure import Case, Row, cases_of
from examples.truth.peers import peers_of
from examples.truth.reduced import box_of, differences, measure_again
from examples.truth.subjects import (
    BUILD,
    CHANCE,
    CLEAN,
    FURTHER,
    HIGH,
    NOWHERE,
    PLANTED,
    RETINANET,
    TUNING_SEED,
    YOLOX,
    Subject,
    all_subjects,
    further_pairs,
    second_subjects,
    subject,
)
from examples.truth.summary import KEPT, KEPT_FURTHER, KEPT_SECOND, summarise
from examples.truth.train import train, write_checkpoint
from examples.truth.verdict import name_of

_AND = "+"
MOST = 20
"""Differences that are told, at most."""


def measured(one: Subject, cue: str) -> tuple[Reliance, list[Case]]:
    """What is measured of a detector with a kind of cue, from a file if it was measured before."""
    path = one.folder / f"{one.name}{_AND}{cue}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        began = time.perf_counter()
        if not one.checkpoint.exists():
            with compat.bridged():
                write_checkpoint(train(one), one.checkpoint)
        model = boxcam.load(export(one, one.bundle), threads=1)
        reliance, cases = intervene(model, one, cue), [] if cue == NOWHERE else cases_of(model, one, cue)
        found = {"reliance": asdict(reliance), "cases": list(map(asdict, cases))}
        path.write_text(json.dumps(found), encoding="utf-8")
        print(f"{one.name}, {cue}: {time.perf_counter() - began:.0f} s", flush=True)
    data = json.loads(path.read_text(encoding="utf-8"))
    return Reliance(**data["reliance"]), _cases(data["cases"])


def measured_peers(one: Subject, cue: str) -> list[Case]:
    """What recipes of others show of a detector with a kind of cue, from a file if it was measured before."""
    path = BUILD / "peers" / f"{one.name}{_AND}{cue}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        cases = peers_of(boxcam.load(export(one, one.bundle), threads=1), one, cue)
        path.write_text(json.dumps(list(map(asdict, cases))), encoding="utf-8")
    return _cases(json.loads(path.read_text(encoding="utf-8")))


def _cases(entries: list[dict[str, Any]]) -> list[Case]:
    return [Case(**{**entry, "row": Row(**entry["row"])}) for entry in entries]


def measured_nowhere() -> None:
    """Write what maps show of a cue that is at no place."""
    names = [NOWHERE, CLEAN, PLANTED[0]]
    ones = [Subject(name, CHANCE if name == CLEAN else HIGH, TUNING_SEED) for name in names]
    found = nowhere.measure(*((one, boxcam.load(export(one, one.bundle), threads=1)) for one in ones))
    nowhere.write(found)


def known(cues: Sequence[str], folder: Path = BUILD) -> tuple[list[Reliance], list[Case]]:
    """All that was measured so far with some kinds of cue, of the detectors of one architecture."""
    pairs = [path.stem.split(_AND) for path in sorted(folder.glob(f"*{_AND}*.json"))]
    found = [measured(subject(name), cue) for name, cue in pairs if cue in cues]
    peers = [_cases(json.loads(path.read_text("utf-8"))) for path in sorted((folder / "peers").glob(f"*{_AND}*.json"))]
    cases = [case for cases in (*(cases for _, cases in found), *peers) for case in cases if case.cue in cues]
    return [reliance for reliance, _ in found], cases


def _summary(cues: Sequence[str], path: Path, kept: int, folder: Path = BUILD) -> None:
    """Write what is known of some kinds of cue, if there is anything."""
    reliances, cases = known(cues, folder)
    if reliances:
        summarise(reliances, cases, kept).write(path)


def compare(kept: Sequence[Case], files: Sequence[Path] = (results.PATH,)) -> None:
    """Measure the boxes again that were kept in some files, and stop if they are not as they were."""
    began = time.perf_counter()
    again, new = measure_again(kept)
    lines = differences(kept, again)
    print(f"{len(again)} maps of {len(set(map(box_of, again)))} boxes in {time.perf_counter() - began:.0f} s")
    if new:
        print(f"Not measured yet: {'; '.join(map(name_of, new))}. make truth adds them.")
    if not again or lines:
        told = "\n".join(lines[:MOST]) + (f"\nand {len(lines) - MOST} more" if len(lines) > MOST else "")
        names = " or ".join(path.name for path in files)
        raise SystemExit(f"{names} is not what is measured now. Run make truth.\n{told}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="detectors, instead of all")
    parser.add_argument("--page", action="store_true", help="write the page from results.json, and measure nothing")
    parser.add_argument("--peers", action="store_true", help="also what a recipe of pytorch-grad-cam's shows")
    parser.add_argument("--further", action="store_true", help="measure the cues of further.json alone")
    parser.add_argument("--second", action="store_true", help="measure the second architecture alone")
    parser.add_argument("--reduced", action="store_true", help="measure a few boxes again, and compare")
    options = parser.parse_args()
    if options.reduced:
        paths = (results.PATH, results.FURTHER_PATH, results.SECOND_PATH)
        compare([case for path in paths for case in results.read(path).cases], paths)
        return
    if not options.page:
        whole = not (options.names or options.further or options.second)
        for one in map(subject, options.names) if options.names else all_subjects() if whole else []:
            for cue in one.measured:
                measured(one, cue)
                if options.peers and cue in PLANTED and one.architecture == RETINANET:
                    measured_peers(one, cue)
        if whole or options.further:
            for one, cue in further_pairs():
                measured(one, cue)
            measured_nowhere()
        if whole or options.second:
            for one in second_subjects():
                for cue in one.measured:
                    measured(one, cue)
        if whole or options.names:
            _summary(PLANTED, results.PATH, KEPT)
        _summary((*FURTHER, NOWHERE), results.FURTHER_PATH, KEPT_FURTHER)
        _summary(PLANTED, results.SECOND_PATH, KEPT_SECOND, BUILD / YOLOX)
    if not results.PATH.exists():
        raise SystemExit(f"{results.PATH} is not there: nothing has been measured yet. Run it without --page.")
    found = results.read()
    if not found.energies:
        raise SystemExit(
            "no detector that was measured relies on its cue, and none is clean: there is no true evidence to look for."
            " Measure clean-1, or detectors of a higher dose, too."
        )
    page.PATH.write_text(page.markdown(found), encoding="utf-8")


if __name__ == "__main__":
    main()
