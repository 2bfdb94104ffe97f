#!/usr/bin/env bash
# Writes benchmarks_lock.txt anew from benchmarks_requirements.in, as update_lock.sh does for the other lock file, whose
# versions it takes where both have a package.
#
# The hashes are those of PyPI, whose PyTorch for Linux is built for CUDA and needs NVIDIA's libraries (3 GB). The
# project also publishes the same release built for the processor alone ("+cpu", 190 MB, no further libraries); where
# pip has an index that lists it with its hash, it is what pip takes, so its hashes are added (Linux, x86-64,
# Python 3.11 to 3.13).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

cpu_builds=(
  6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b
  4ca4a9394b0c771238a4f73590fdbbc4debad85ed0fa63d026ae1b085da7d6e2
  3fbf9c9d1f3c10c2d59d04aca426dee9ccc6ceb32d255c61e93acc3b4f75fae6
)

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
python3 -m venv "$tools"
"$tools/bin/pip" install --quiet uv

"$tools/bin/uv" pip compile --quiet --python-version 3.10 --python-platform x86_64-manylinux_2_28 --only-binary :all: \
  --generate-hashes --custom-compile-command third_party/update_benchmarks_lock.sh --constraint requirements_lock.txt \
  benchmarks_requirements.in --output-file "$tools/lock.txt" "${@:---upgrade}"

for hash in "${cpu_builds[@]}"; do
  sed -i "s/^torch==[^ ]* \\\\$/&\n    --hash=sha256:$hash \\\\/" "$tools/lock.txt"
done
mv "$tools/lock.txt" benchmarks_lock.txt
