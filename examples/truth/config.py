"""mmdet configuration of the benchmark's detectors: that of `examples/signs`, for two classes and small pictures.

It stands alone (no ``_base_``).
"""

# ruff: noqa: C408  (configurations are written with dict() throughout OpenMMLab)

default_scope = "mmdet"

classes = ("cross", "tee")
scale = (160, 160)

model = dict(
    type="RetinaNet",
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
        num_stages=4,
        out_indices=(1, 2, 3),
        frozen_stages=-1,
        norm_cfg=dict(type="BN", requires_grad=True),
        norm_eval=False,
        style="pytorch",
    ),
    neck=dict(
        type="FPN",
        in_channels=[32, 64, 128],
        out_channels=48,
        start_level=0,
        add_extra_convs="on_output",
        num_outs=4,
        act_cfg=dict(type="ReLU", inplace=False),
    ),
    bbox_head=dict(
        type="RetinaHead",
        num_classes=len(classes),
        in_channels=48,
        stacked_convs=1,
        feat_channels=48,
        anchor_generator=dict(
            type="AnchorGenerator",
            octave_base_scale=3,
            scales_per_octave=2,
            ratios=[1.0],
            strides=[8, 16, 32, 64],
        ),
        bbox_coder=dict(type="DeltaXYWHBBoxCoder", target_means=[0.0] * 4, target_stds=[1.0] * 4),
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=1.0, alpha=0.5, loss_weight=4.0),
        loss_bbox=dict(type="L1Loss", loss_weight=1.0),
    ),
    train_cfg=dict(
        assigner=dict(type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0, ignore_iof_thr=-1),
        sampler=dict(type="PseudoSampler"),
        allowed_border=-1,
        pos_weight=-1,
        debug=False,
    ),
    test_cfg=dict(
        nms_pre=1000,
        min_bbox_size=0,
        score_thr=0.02,
        nms=dict(type="nms", iou_threshold=0.5),
        max_per_img=20,
    ),
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
