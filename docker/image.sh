#!/usr/bin/env bash
# The steps of the image: docker/image.sh system | packages FILE | check | open
# VIRTUAL_ENV says where the Python environment is. Run from the project's folder.
set -euo pipefail

step=${1:?system, packages FILE, check or open is wanted}
venv=${VIRTUAL_ENV:?say where the Python environment is}
export PATH="$venv/bin:$PATH"

case $step in
  system) # what opencv-python loads
    apt-get update -q
    apt-get install -y -q --no-install-recommends libgl1 libglib2.0-0
    rm -rf /var/lib/apt/lists/*
    ;;
  packages) # the exact versions that were tested
    python3 -m venv "$venv"
    pip install -q -r "${2:?a file of requirements is wanted}" -r docker/requirements.txt -c constraints.txt
    ;;
  check) # that what was installed can be loaded, and starts
    python -c "import cv2, keras, tensorflow as tf; print('TensorFlow', tf.__version__, 'Keras', keras.__version__)"
    python train.py --help >/dev/null
    ;;
  open) # for whatever user the container runs as: a home for downloads, and a place for what is written
    mkdir -p "$HOME" data runs out
    chmod -R a+rwX "$HOME"
    chmod 1777 . data runs out
    chmod -R a+rX .
    chmod a+rwX docs docs/tutorial.ipynb # so that the notebook can be saved
    ;;
  *)
    echo "$step: system, packages FILE, check or open is wanted" >&2
    exit 1
    ;;
esac
