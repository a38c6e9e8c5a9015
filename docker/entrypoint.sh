#!/usr/bin/env bash
# The paths of CUDA, then the command.
set -euo pipefail
# shellcheck source=docker/cuda-paths.sh
source "$(dirname "$0")/cuda-paths.sh"
exec "$@"
