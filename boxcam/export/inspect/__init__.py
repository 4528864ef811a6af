"""What a person has to know about an ONNX file to export it: its input, its detections, the layers to choose from."""

from boxcam.export.inspect.facts import LayerFacts, Survey
from boxcam.export.inspect.lines import lines
from boxcam.export.inspect.survey import survey

__all__ = ["LayerFacts", "Survey", "lines", "survey"]
