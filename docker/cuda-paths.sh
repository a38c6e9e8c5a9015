# shellcheck shell=bash
# To be sourced: show TensorFlow the CUDA libraries, and XLA the ptxas, of the packages beside it, where they are
# installed. Some versions do not find them by themselves (github.com/tensorflow/tensorflow/issues/85311).
for folder in "${VIRTUAL_ENV:?}"/lib/python3*/site-packages/nvidia/*/lib; do
  [ -d "$folder" ] && LD_LIBRARY_PATH="$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
done
for folder in "$VIRTUAL_ENV"/lib/python3*/site-packages/nvidia/*/bin; do
  [ -d "$folder" ] && PATH="$folder:$PATH"
done
export PATH LD_LIBRARY_PATH="${LD_LIBRARY_PATH:-}"
unset folder
