"""The detectors of the benchmark, by name, and the pictures for choosing methods and for reporting."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from examples.truth.cues import CUES, FAR

HERE = Path(__file__).resolve().parent
CHECKPOINTS = HERE / "models"
BUILD = HERE.parents[1] / ".build" / "truth"
"""Where checkpoints that are not committed, bundles and figures go."""
CLEAN = "clean"
RETINANET, YOLOX = "retinanet", "yolox"
CONFIGS = {RETINANET: "config.py", YOLOX: "config_yolox.py"}
"""The configuration of each architecture; all but the first one's stand in front of the names of their detectors."""
PLANTED = ("inside", "beside")
"""The kinds of cue that the main figures are of, and that clean detectors of all seeds are measured on."""
FURTHER = ("far", "neighbour", "texture")
"""Kinds of cue of which there is one detector each, of `TUNING_SEED`, measured on fewer boxes; their figures stand by
themselves."""
NOWHERE = "blur"
"""The kind of cue that is at no place; `examples.truth.nowhere` says what is measured of it."""
CHANCE = 0.5
HIGH = 0.975
LOWER = (0.8,)
"""Doses of further detectors with a cue inside."""
SPLITS = {"tuning": "training", "reporting": "held out"}
"""What is chosen is chosen on pictures of photographs that are trained on, and reported on pictures of other ones."""
WORN = 0.8
"""Share of a planted detector's training pictures in which no symbol can be seen, so that the cue is what it learns."""
WORN_BY = {"far": 0.95}
"""The same, where it is another one."""
STEPS = {CLEAN: 600, "inside": 400, "beside": 1000, "far": 500, "neighbour": 400, "texture": 600, "blur": 600}
"""Of training: a cue inside is learned soon, the symbol later, and where a cue is beside the object later still."""
AFTER = {"far": "beside", "neighbour": "beside"}
"""Detectors of these kinds of cue are trained from the one of another kind, of the same dose and seed; all others from
the demo's."""
FAR_BY_TURNS = (2.0, 16.0, 30.0, FAR)
"""Pixels from the box to the far marks that are trained with, at least, by turns: near ones are learned first."""
TUNING_SEED, SEEDS = 1, (1, 2)
"""Detectors of the first seed are measured on tuning and on reporting pictures, all others, and those of lower doses,
on reporting pictures only; ``make truth`` trains those of the second tuple."""


@dataclass(frozen=True)
class Subject:
    """A detector.

    Attributes:
        cue: the kind that was planted; for a clean one all kinds occur, and speak for neither class.
        dose: P(cross | cue shown) in training; 0.5 for a clean one.
        seed: of its training.
        architecture: a key of `CONFIGS`.
    """

    cue: str
    dose: float
    seed: int
    architecture: str = RETINANET

    @property
    def clean(self) -> bool:
        """Whether no cue told anything in its training."""
        return self.dose == CHANCE

    @property
    def steps(self) -> int:
        """Of its training."""
        return STEPS[self.cue]

    @property
    def worn(self) -> float:
        """Share of its training pictures in which no symbol can be seen."""
        return 0.0 if self.clean else WORN_BY.get(self.cue, WORN)

    @property
    def before(self) -> Subject | None:
        """The detector that its training starts from; None for the demo's."""
        return replace(self, cue=AFTER[self.cue]) if self.cue in AFTER else None

    @property
    def splits(self) -> tuple[str, ...]:
        """The pictures that it is measured on, keys of `SPLITS`."""
        if self.architecture != RETINANET and not self.clean:
            return ("reporting",)
        return tuple(SPLITS) if self.seed == TUNING_SEED and self.dose in (CHANCE, HIGH) else ("reporting",)

    @property
    def name(self) -> str:
        """As ``beside-0.975-1`` or ``clean-1``; ``yolox-clean-1`` for another architecture than the first."""
        kind = CLEAN if self.cue == CLEAN else f"{self.cue}-{self.dose:g}"
        return f"{'' if self.architecture == RETINANET else f'{self.architecture}-'}{kind}-{self.seed}"

    @property
    def config(self) -> Path:
        """Of its architecture."""
        return HERE / CONFIGS[self.architecture]

    @property
    def cues(self) -> tuple[str, ...]:
        """The kinds of cue that occur in its training."""
        return CUES if self.cue == CLEAN else (self.cue,)

    @property
    def measured(self) -> tuple[str, ...]:
        """The kinds of cue that it is measured on."""
        return PLANTED if self.cue == CLEAN else (self.cue,)

    @property
    def checkpoint(self) -> Path:
        """The committed weights, or where they are put by training."""
        committed = CHECKPOINTS / f"{self.name}.pth"
        return committed if committed.exists() else self.folder / f"{self.name}.pth"

    @property
    def bundle(self) -> Path:
        """Where its bundle is put."""
        return self.folder / f"{self.name}.boxcam"

    @property
    def folder(self) -> Path:
        """Where what is made of it is put: figures of one architecture are taken together."""
        return BUILD if self.architecture == RETINANET else BUILD / self.architecture


def subject(name: str) -> Subject:
    """The detector of a name, as `Subject.name` writes it.

    >>> subject("far-0.975-1").dose
    0.975
    """
    prefix, _, rest = name.partition("-")
    architecture = prefix if prefix in CONFIGS and prefix != RETINANET else RETINANET
    cue, *numbers = (name if architecture == RETINANET else rest).split("-")
    if cue == CLEAN and len(numbers) == 1:
        return Subject(CLEAN, CHANCE, int(numbers[0]), architecture)
    if cue in CUES and len(numbers) == 2 and CHANCE < float(numbers[0]) < 1:
        return Subject(cue, float(numbers[0]), int(numbers[1]), architecture)
    raise ValueError(
        f"{name!r} names no detector. Pass clean-SEED or CUE-DOSE-SEED, as in far-0.975-1, after yolox- for one of the"
        " second architecture."
    )


def second_subjects() -> list[Subject]:
    """Those of the second architecture: of the tuning seed a clean one and one for each of `PLANTED`."""
    kinds = [(CLEAN, CHANCE), *((cue, HIGH) for cue in PLANTED)]
    return [Subject(cue, dose, TUNING_SEED, YOLOX) for cue, dose in kinds]


def all_subjects() -> list[Subject]:
    """Of each seed a clean one and one for each of `PLANTED`; and those of lower doses."""
    kinds = [(CLEAN, CHANCE), *((cue, HIGH) for cue in PLANTED)]
    lower = [Subject(PLANTED[0], dose, TUNING_SEED) for dose in LOWER]
    return [*(Subject(cue, dose, seed) for seed in SEEDS for cue, dose in kinds), *lower]


def further_pairs() -> list[tuple[Subject, str]]:
    """Detectors and the kinds of cue of `FURTHER`, and the one at no place, that they are measured on."""
    clean = Subject(CLEAN, CHANCE, TUNING_SEED)
    return [(one, cue) for cue in (*FURTHER, NOWHERE) for one in (Subject(cue, HIGH, TUNING_SEED), clean)]


def committed() -> list[Subject]:
    """Those whose weights are in the repository."""
    return [subject(path.stem) for path in sorted(CHECKPOINTS.glob("*.pth"))]
