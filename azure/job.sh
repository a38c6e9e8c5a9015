#!/usr/bin/env bash
# The job of azure/job.yaml: trains into OUT/job, or goes on with what an earlier job left there; then scores.
#   bash azure/job.sh DATA OUT [FLAGS of train.py]
# Every file of the run is written into OUT as training goes, so that a timeout or a pre-empted node loses no more than
# the steps since the last validation.
set -euo pipefail
data=${1:?the folder of images and masks is wanted} out=${2:?the folder for the run is wanted}
shift 2
run=$out/job
place=${DATA_PLACE:-/tmp/segmentation-data} # the same in every job, since a run remembers where its data are

cd "$(dirname "$0")/.."
if command -v nvidia-smi >/dev/null; then
  python -c "from data_pipeline.cuda import open_cuda; open_cuda()
import tensorflow as tf; assert tf.config.list_physical_devices('GPU'), 'TensorFlow sees no GPU'"
fi

if [ ! -e "$place" ]; then
  rm -rf "$place.part"
  cp -r "$data" "$place.part"
  mv "$place.part" "$place"
fi

if [ -d "$run/resume" ]; then
  echo "going on with $run, where the last job ended"
  python train.py --resume "$run"
elif [ ! -e "$run" ]; then
  python train.py --data "$place" --runs-dir "$out" --name job "$@"
fi
if [ ! -e "$run/evaluation/test/report.html" ]; then
  python evaluate.py "$run"
fi
