"""Whether numbers of a whole image are features rather than scores of classes.

Scores of classes are what a last layer with weights gives, whatever scales them, or what an activation makes of these.
Features are activated, normalised or pooled after the last layer with weights; or they are as many as features are, and
none of what has a name says that they are scores; or a name says that they are something else.
"""

from __future__ import annotations

import re

import onnx_ir as ir

from boxcam.export.graphs.operators import operator_of
from boxcam.export.heads.evidence.makers import computed, is_normalization, last_operator

_POOLS = frozenset({"ReduceMean", "ReduceMax", "GlobalAveragePool", "GlobalMaxPool", "AveragePool", "MaxPool"})
_SQUASHES = frozenset({"Tanh", "Softsign", "Erf"})
_NORMALIZATIONS = frozenset(
    {"BatchNormalization", "InstanceNormalization", "LayerNormalization", "RMSNormalization", "GroupNormalization"}
)
_ROUNDS = ("QuantizeLinear", "DequantizeLinear")
_DEPTH = 50
_WIDTH, _CHANNELS = 64, 16
"""Embeddings have a multiple of so many numbers, and maps of so many channels; numbers of classes are that by chance
alone."""

_SCORES = {"class", "classes", "cls", "label", "labels", "logit", "logits", "prob", "probabilities", "probability"}
_SCORES |= {"classifier", "prediction", "predictions", "preds", "probs", "score", "scores"}
_FEATURES = {"descriptor", "descriptors", "emb", "embed", "embedding", "embeddings", "embeds", "feat", "feats"}
_FEATURES |= {"feature", "features", "hidden", "latent", "latents", "pooler"}
_PLACES = {"bbox", "bboxes", "box", "boxes", "coordinates", "coords", "joints", "keypoint", "keypoints", "kps", "kpts"}
_PLACES |= {"landmark", "landmarks", "offset", "offsets", "points"}
_MEASURES = {"age", "angle", "angles", "depth", "gaze", "pitch", "pose", "quaternion", "regression", "roll", "rotation"}
_MEASURES |= {"translation", "yaw"}
_FEW = 4
"""Measures are few numbers; of more, each is a class: of ages by year, or of angles by degree."""


def words_of(name: str) -> frozenset[str]:
    """The words of a tensor's name in small letters: ``image_embeds`` and ``imageEmbeds`` are image and embeds."""
    return frozenset(word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name))


def may_be_features(value: ir.Value, name: str, count: int) -> bool:
    """Whether numbers of a whole image may be features, or measures as places are, and no scores.

    Args:
        value: the numbers, in a folded graph.
        name: what the model calls them.
        count: how many there are.
    """
    words = words_of(name)
    if last_operator(value) == "Softmax":
        return False  # shares of a whole are those of classes, whatever they are called
    if words & (_FEATURES | _PLACES | (_MEASURES if count <= _FEW else set())) and not words & _SCORES:
        return True
    made = _made(value)
    if made == "layer":
        return count % _WIDTH == 0 and not words & _SCORES
    return made == "activated" or (made == "pooled" and count % _CHANNELS == 0 and not words & _SCORES)


def _made(value: ir.Value) -> str:
    """What made numbers: a ``layer`` with weights, or what comes after it.

    That is ``activated``, or ``pooled`` if it was activated before; nothing where it is something else, as the
    activation of a classifier.
    """
    pooled = False
    for _ in range(_DEPTH):
        node = value.producer()
        if node is None:
            return ""
        operator, read = operator_of(node), computed(node)
        if node.op_type in _NORMALIZATIONS or node.op_type in _SQUASHES or is_normalization(node):
            return "activated"
        if operator.rectifier or _is_gate(node):
            return "pooled" if pooled else "activated"
        if operator.weighs:
            return "layer"
        follows = (operator.moves and len(read) == 1) or node.op_type in _ROUNDS
        scales = operator.elementwise and not operator.probability and len(read) == 1
        pooled = pooled or node.op_type in _POOLS
        if not read or not (follows or scales or node.op_type in _POOLS):
            return ""
        value = read[0]
    return ""


def _is_gate(node: ir.Node) -> bool:
    """Whether a product is an activation: a value times a function of itself, as SiLU and GELU in parts are."""
    read = computed(node)
    if node.op_type != "Mul" or len(read) != 2:
        return False
    return any(_is_function(one, other) for one, other in (read, read[::-1]))


def _is_function(one: ir.Value, other: ir.Value) -> bool:
    """Whether one is computed element by element from the other alone."""
    for _ in range(_DEPTH):
        if one is other:
            return True
        node = one.producer()
        read = [] if node is None else computed(node)
        if node is None or not operator_of(node).keeps_places or len(read) != 1:
            return False
        one = read[0]
    return False
