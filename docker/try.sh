#!/usr/bin/env bash
# Builds the CPU image without Docker, and tries it as a user who is not root:
#   docker/try.sh FOLDER [FLAGS of buildah build]
# Wants root and Debian's packages buildah and mmdebstrap. python:3.11-slim is made of Debian 12's own packages. What is
# built and written lies in FOLDER (10 GB while it builds), where nothing else may lie; afterwards remove it.
# Trained is little: it is the image that is tried, not the network.
set -euo pipefail

folder=$(realpath -m "${1:?docker/try.sh FOLDER: where to build}")
shift
cd "$(dirname "$0")/.."
[ ! -e "$folder" ] || { echo "$folder exists; name a new folder" >&2; exit 1; }
mkdir -p "$folder"/{data,runs,out}
user=1234:1234
chown "$user" "$folder"/{data,runs,out}
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot

tool() { buildah --root "$folder/storage" --runroot "$folder/run" "$@"; }
inside() { # a command in the image, as that user, with the folders that compose.yaml names
  echo "+ $*"
  tool run --user "$user" --volume "$folder/data:/app/data" --volume "$folder/runs:/app/runs" \
    --volume "$folder/out:/app/out" "$tried" -- "$@"
}

echo "+ the base image"
# shellcheck disable=SC2016  # mmdebstrap expands it
mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates \
  --customize-hook='ln -s python3 "$1/usr/bin/python"' bookworm "$folder/base.tar"
base=$(tool from scratch)
tool add --quiet "$base" "$folder/base.tar" /
tool commit --quiet --rm "$base" docker.io/library/python:3.11-slim
rm "$folder/base.tar"

echo "+ docker/Dockerfile"
tool build --pull-never --file docker/Dockerfile --target cpu --tag segmentation:cpu "$@" .
tried=$(tool from --pull-never segmentation:cpu)

inside python train.py --name first --steps 20
inside python evaluate.py runs/first
inside bash -c 'sed -i -E "s/--steps [0-9]+/--steps 2/; s/--count [0-9]+/--count 24 --size 64/" docs/tutorial.md
  python -m docs.notebook --run'
inside jupyter lab --version
echo "written by user $(stat -c %u "$folder/runs/first/evaluation/test/report.html"), in $folder: $(ls "$folder/out")"
