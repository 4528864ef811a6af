"""The whole benchmark: train what is missing, export, intervene, measure, and write a page.

    python -m examples.truth.run                              all, a quarter of an hour on one core
    python -m examples.truth.run clean-0 far-0.975-0          these detectors, added to what was measured before
    python -m examples.truth.run --page                       the page alone, from results.json

`make truth` runs it. Figures of each detector are kept in .build/truth.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict

import boxcam
from boxcam.export.sources.openmmlab import compat
from examples.truth import page, results
from examples.truth.bundles import export
from examples.truth.intervene import Reliance, intervene
from examples.truth.measure import Case, Row, cases_of
from examples.truth.subjects import BUILD, Subject, all_subjects, subject
from examples.truth.summary import summarise
from examples.truth.train import train, write_checkpoint


def measured(one: Subject) -> tuple[list[Reliance], list[Case]]:
    """What is measured of a detector, from a file if it was measured before."""
    path = BUILD / f"{one.name}.json"
    if not path.exists():
        began = time.perf_counter()
        if not one.checkpoint.exists():
            with compat.bridged():
                write_checkpoint(train(one), one.checkpoint)
        model = boxcam.load(export(one, one.bundle), threads=1)
        reliances, cases = [intervene(model, one, cue) for cue in one.measured], cases_of(model, one)
        found = {"reliances": list(map(asdict, reliances)), "cases": list(map(asdict, cases))}
        path.write_text(json.dumps(found), encoding="utf-8")
        print(f"{one.name}: {time.perf_counter() - began:.0f} s", flush=True)
    data = json.loads(path.read_text(encoding="utf-8"))
    cases = [Case(**{**case, "row": Row(**case["row"])}) for case in data["cases"]]
    return [Reliance(**reliance) for reliance in data["reliances"]], cases


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="detectors, instead of all")
    parser.add_argument("--page", action="store_true", help="write the page from results.json, and measure nothing")
    options = parser.parse_args()
    if not options.page:
        BUILD.mkdir(parents=True, exist_ok=True)
        for one in map(subject, options.names) if options.names else all_subjects():
            measured(one)
        known = [measured(subject(path.stem)) for path in sorted(BUILD.glob("*.json"))]
        summarise([one for found, _ in known for one in found], [one for _, found in known for one in found]).write()
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
