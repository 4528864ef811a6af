"""The bundle: a directory that holds everything `boxcam explain` needs, and a manifest that describes it.

``boxcam export`` writes it and ``boxcam.load`` reads it; this package is all that both sides know of each other.
"""

from boxcam.bundle.bounds import MAX_LABELS, MAX_TEXT, check_preprocess
from boxcam.bundle.files import FORWARD, MANIFEST, PLACES, SAMPLE, WEIGHTS, seal
from boxcam.bundle.manifest import (
    FORMAT_VERSION,
    Candidates,
    ClassAxis,
    Finding,
    Form,
    Gradient,
    Head,
    Layer,
    Logits,
    Manifest,
    Outputs,
    Rows,
    Rules,
    SampleBox,
    SampleResult,
    Scope,
    ScoreForm,
    Tensor,
    TracedTarget,
    Verdict,
)
from boxcam.bundle.preprocess import Preprocess
from boxcam.bundle.reading import read
from boxcam.bundle.writing import check_target, disk_errors, write, write_manifest

__all__ = [
    "FORMAT_VERSION",
    "FORWARD",
    "MANIFEST",
    "MAX_LABELS",
    "MAX_TEXT",
    "PLACES",
    "SAMPLE",
    "WEIGHTS",
    "Candidates",
    "ClassAxis",
    "Finding",
    "Form",
    "Gradient",
    "Head",
    "Layer",
    "Logits",
    "Manifest",
    "Outputs",
    "Preprocess",
    "Rows",
    "Rules",
    "SampleBox",
    "SampleResult",
    "Scope",
    "ScoreForm",
    "Tensor",
    "TracedTarget",
    "Verdict",
    "check_preprocess",
    "check_target",
    "disk_errors",
    "read",
    "seal",
    "write",
    "write_manifest",
]
