"""U-Net as published: Ronneberger, Fischer, Brox 2015 (arXiv 1505.04597), sections 3 and 3.1.

    python train.py --recipe unet2015 --data DIR

Unpadded U-Net on single images, SGD with momentum 0.99, cross-entropy with weights for classes and for the gaps
between objects (equation 2), elastic deformations. The paper gives no learning rate. Expected: not measured.
"""

SETTINGS = {
    "model": "unet_original",
    "batch_size": 1,
    "augment": "unet2015",
    "loss": "ce",
    "class_weights": "median_frequency",
    "border_weights": True,
    "optimizer": "sgd",
    "momentum": 0.99,
    "schedule": "constant",
}
