"""The bundle: a directory that holds everything `boxcam explain` needs, and a manifest that describes it.

``boxcam export`` writes it and ``boxcam.load`` reads it; this package is all that both sides know of each other.
"""

from boxcam.bundle.files import FORWARD, MANIFEST, SAMPLE, seal
from boxcam.bundle.manifest import (
    FORMAT_VERSION,
    Finding,
    Form,
    Gradient,
    Layer,
    Logits,
    Manifest,
    Outputs,
    Rules,
    SampleBox,
    SampleResult,
    Tensor,
    TracedTarget,
    Verdict,
)
from boxcam.bundle.preprocess import Preprocess
from boxcam.bundle.reading import read
from boxcam.bundle.writing import check_target, write, write_manifest

__all__ = [
    "FORMAT_VERSION",
    "FORWARD",
    "MANIFEST",
    "SAMPLE",
    "Finding",
    "Form",
    "Gradient",
    "Layer",
    "Logits",
    "Manifest",
    "Outputs",
    "Preprocess",
    "Rules",
    "SampleBox",
    "SampleResult",
    "Tensor",
    "TracedTarget",
    "Verdict",
    "check_target",
    "read",
    "seal",
    "write",
    "write_manifest",
]
