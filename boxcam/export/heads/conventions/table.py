"""The table of conventions; other packages add entries of their own."""

from __future__ import annotations

from boxcam.export.heads.conventions import (
    anchors,
    centernet,
    classifiers,
    dense,
    extras,
    faces,
    masks,
    nanodet,
    objectness,
    pairs,
    picodet,
    selected,
    tables,
    tflite,
    yolox,
)
from boxcam.export.heads.conventions.entry import Entry
from boxcam.registry import Registry

CONVENTIONS: Registry[Entry] = Registry("output convention", "boxcam.conventions")

_ENTRIES = {
    "torchvision": selected.SEPARATE,
    "boxes-and-score": selected.ONE_CLASS,
    "yolo-nas": selected.YOLO_NAS,
    "mmdeploy": selected.MMDEPLOY,
    "tensorflow": selected.TENSORFLOW,
    "tflite": tflite.TFLITE,
    "box-and-score": tables.ONE_CLASS,
    "paddle": tables.PADDLE,
    "yolov10": tables.END_TO_END,
    "end-to-end": tables.END_TO_END_REST,
    "yolov7-end2end": tables.YOLOV7,
    "detection-output": tables.DETECTION_OUTPUT,
    "yolo-nas-flat": tables.YOLO_NAS,
    "ultralytics": dense.ULTRALYTICS,
    "ultralytics-transposed": dense.ULTRALYTICS_ROWS,
    "ultralytics-rtdetr": dense.RTDETR_ULTRALYTICS,
    "ultralytics-segment": extras.MASKS,
    "ultralytics-extras": extras.EXTRAS,
    "yolov5": dense.YOLOV5,
    "yolov5-segment": masks.YOLOV5,
    "yolov5-transposed": dense.YOLOV5_ACROSS,
    "yolox": yolox.DECODED,
    "yolox-transposed": yolox.DECODED_ACROSS,
    "yolox-undecoded": yolox.UNDECODED,
    "yolox-undecoded-transposed": yolox.UNDECODED_ACROSS,
    "yolov5-face": extras.FACE,
    "nanodet-plus": nanodet.PLUS,
    "nanodet": nanodet.NANODET,
    "picodet": picodet.PICODET,
    "nanodet-levels": picodet.NANODET,
    "yunet": faces.YUNET,
    "scrfd": faces.SCRFD,
    "centernet": centernet.CENTERNET,
    "ssd": anchors.SSD,
    "efficientdet": anchors.EFFICIENTDET,
    "detr": pairs.DETR,
    "rf-detr": pairs.RF_DETR,
    "yolov4": pairs.YOLOV4,
    "yolov3": pairs.YOLOV3,
    "queries": pairs.QUERIES,
    "boxes-and-scores": pairs.PAIR,
    "boxes-and-scores-across": pairs.PAIR_ACROSS,
    "boxes-scores-and-objectness": objectness.PAIR,
    "boxes-scores-and-objectness-across": objectness.PAIR_ACROSS,
    "classifier": classifiers.CLASSIFIER,
    "classifier-one": classifiers.ONE_CLASS,
    "classifier-pixel": classifiers.PIXEL,
    "classifier-pixel-one": classifiers.ONE_CLASS_PIXEL,
    "classifier-pixel-last": classifiers.PIXEL_LAST,
}

for _name, _entry in _ENTRIES.items():
    CONVENTIONS.register(_name)(_entry)
