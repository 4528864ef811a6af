"""mmdet configuration of the benchmark's second architecture: a small YOLOX, for two classes.

It has no anchors: each cell of two levels says a box by its middle and its size, whether an object is there, and, in a
branch of its own, of which class it is. Neck and head are those of YOLOX; the backbone is the first three stages of the
demo's, whose weights training starts from. It stands alone (no ``_base_``).
"""

# ruff: noqa: C408  (configurations are written with dict() throughout OpenMMLab)

default_scope = "mmdet"

classes = ("cross", "tee")
scale = (160, 160)
norm_cfg = dict(type="BN", momentum=0.03, eps=0.001)
act_cfg = dict(type="SiLU", inplace=False)

model = dict(
    type="YOLOX",
    data_preprocessor=dict(
        type="DetDataPreprocessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
    ),
    backbone=dict(
        type="ResNet",
        depth=18,
        base_channels=16,
        num_stages=3,
        strides=(1, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(1, 2),
        frozen_stages=-1,
        norm_cfg=dict(type="BN", requires_grad=True),
        norm_eval=False,
        style="pytorch",
    ),
    neck=dict(
        type="YOLOXPAFPN",
        in_channels=[32, 64],
        out_channels=48,
        num_csp_blocks=1,
        use_depthwise=False,
        norm_cfg=norm_cfg,
        act_cfg=act_cfg,
    ),
    bbox_head=dict(
        type="YOLOXHead",
        num_classes=len(classes),
        in_channels=48,
        feat_channels=48,
        stacked_convs=1,
        strides=(8, 16),
        use_depthwise=False,
        norm_cfg=norm_cfg,
        act_cfg=act_cfg,
        loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=True, reduction="sum", loss_weight=3.0),
        loss_bbox=dict(type="IoULoss", mode="square", eps=1e-16, reduction="sum", loss_weight=5.0),
        loss_obj=dict(type="CrossEntropyLoss", use_sigmoid=True, reduction="sum", loss_weight=1.0),
    ),
    # Which cells have to find an object is decided by their boxes alone. If their classes count, too, cells that call
    # everything a cross are chosen for crosses, and others for tees: the loss falls, and no symbol is ever read.
    train_cfg=dict(assigner=dict(type="SimOTAAssigner", center_radius=2.5, cls_weight=0.0)),
    test_cfg=dict(score_thr=0.02, nms=dict(type="nms", iou_threshold=0.5), max_per_img=20),
)

test_dataloader = dict(
    batch_size=1,
    dataset=dict(
        type="CocoDataset",
        metainfo=dict(classes=classes),
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="Resize", scale=scale, keep_ratio=True),
            dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")),
        ],
    ),
)
