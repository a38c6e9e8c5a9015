"""The U-Net of "Semantic Segmentation of Small Data using Keras" (Microsoft, 18 July 2018).

    python train.py --recipe blog --data DIR

The post gives the network, the loss (1 − Dice) and Adam; none of its other settings is known. Expected: not measured.
"""

SETTINGS = {"model": "unet_blog", "one_logit": True, "loss": "dice"}
