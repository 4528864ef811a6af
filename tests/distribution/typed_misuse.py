"""Mistakes that a type checker has to find: each line that ends in ``# wrong``, and no other. It is never run."""

import boxcam

model = boxcam.load(3.5)  # wrong
opened = boxcam.load("mine.boxcam", thread=1)  # wrong
explanation = boxcam.explain(boxcam.load("mine.boxcam"), "street.jpg", methods="gradcam")  # wrong
number: str = len(explanation)  # wrong
boxcam.export("model.onnx")  # wrong
first: list[str] = boxcam.methods()  # wrong
explain = boxcam.explian  # wrong
