"""The One Hundred Layers Tiramisu: Jégou et al. 2017 (arXiv 1611.09326), section 4.1, and the authors' code.

    python train.py --recipe tiramisu --data CAMVID --void 11

FC-DenseNet103 with the batch's statistics at all times, RMSprop with a rate that falls by 0.995 a pass, batches of 3
crops of 224; then whole images at 1e-4, from the best weights. Expected: not measured.
"""

SETTINGS = {
    "model": "fc_densenet103",
    "norm": "batch_statistics",
    "batch_size": 3,
    "crop": 224,
    "augment": "tiramisu",
    "loss": "ce",
    "optimizer": "rmsprop",
    "schedule": "exponential",
    "finetune_steps": 500,
}
