"""Operators whose gradient is zero wherever it exists."""

from __future__ import annotations

from boxcam.export.autodiff.rule import ZERO

_WHY = {
    "truth values": ("And", "Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual", "Not", "Or",
                     "Xor"),
    "constant between its steps": ("Ceil", "Floor", "Round", "Sign"),
    "integers": ("BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor"),
    "indices": ("ArgMax", "ArgMin", "NonMaxSuppression", "NonZero"),
    "made from indices": ("OneHot",),
    "made from shapes": ("ConstantOfShape", "EyeLike", "Range", "Shape", "Size"),
    "independent of its inputs": ("Bernoulli", "Constant", "Multinomial", "RandomNormal", "RandomNormalLike",
                                  "RandomUniform", "RandomUniformLike"),
}  # fmt: skip

for _why, _operators in _WHY.items():
    for _operator in _operators:
        ZERO.register(_operator)(_why)
