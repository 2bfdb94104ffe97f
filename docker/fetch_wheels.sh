#!/usr/bin/env bash
# Fills $NEEDLE_WHEELS from the lock files that lie beside this script: fetch_wheels.sh cpu|cuda
#
# Nobody but a user who asks for them needs the wheels of the benchmarks' peers (PyTorch), so these are in no image.
set -euo pipefail
cd "$(dirname "$0")"

case ${1-} in
  cpu) locks=(onednn_lock.txt requirements_lock.txt wheel_lock.txt) ;;
  cuda) locks=(cuda_lock.txt) ;;
  *) echo "fetch_wheels: '${1-}', expected cpu or cuda" >&2; exit 1 ;;
esac

# One call for each file: two may pin different versions of a package.
for lock in "${locks[@]}"; do
  python3 -m pip --disable-pip-version-check --no-cache-dir --no-input download --quiet --progress-bar=off \
    --dest="$NEEDLE_WHEELS" --no-deps --only-binary=:all: --require-hashes --requirement="$lock" \
    || { echo "fetch_wheels: pip cannot download what $lock pins" >&2; exit 1; }
done
