#!/usr/bin/env bash
# Sets the project up on an Azure Data Science Virtual Machine (Ubuntu) with one NVIDIA GPU:
#   git clone URL && cd PROJECT && bash azure/vm-setup.sh
# It may be called again at any time; what is done already is left as it is. See docs/azure.md.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${VENV:-.venv}

say() { printf '\n== %s\n' "$*"; }

requirements="requirements.txt"
if command -v nvidia-smi >/dev/null; then
  say "GPU and driver"
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv || {
    say "the driver does not answer: reboot after a driver update, and call this again"
    exit 1
  }
  requirements="requirements-gpu.txt"
else
  say "no nvidia-smi: this machine has no NVIDIA driver, so the CPU packages are installed"
fi

if ! "$venv/bin/python" -c 'import sys, pip; assert sys.version_info >= (3, 11)' 2>/dev/null; then
  say "Python 3.11 in $venv"
  if command -v python3.11 >/dev/null && python3.11 -c 'import ensurepip' 2>/dev/null; then
    python3.11 -m venv --clear "$venv"
  else # the image's own Python is older: uv fetches one
    command -v uv >/dev/null || python3 -m pip install --user --quiet uv
    PATH="$HOME/.local/bin:$PATH" uv venv --clear --seed --python 3.11 "$venv"
  fi
fi

say "packages of $requirements"
"$venv/bin/python" -m pip install --quiet -r "$requirements" -c constraints.txt

if ! "$venv/bin/python" -c 'import cv2' 2>/dev/null; then
  say "system libraries of OpenCV"
  sudo apt-get update -q && sudo apt-get install -y -q --no-install-recommends libgl1 libglib2.0-0
fi

say "what TensorFlow sees"
TF_CPP_MIN_LOG_LEVEL=2 "$venv/bin/python" - "$requirements" <<'PYTHON'
import sys

from data_pipeline.cuda import open_cuda

open_cuda()
import tensorflow as tf

gpus = tf.config.list_physical_devices("GPU")
for gpu in gpus:
    print(tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name))
print(f"TensorFlow {tf.__version__}, {len(gpus)} GPUs")
if "gpu" in sys.argv[1] and not gpus:
    sys.exit("TensorFlow sees no GPU though there is a driver: reboot after a driver update, and call this again")
PYTHON

say "ready: source $venv/bin/activate, then python train.py --name first --steps 200"
