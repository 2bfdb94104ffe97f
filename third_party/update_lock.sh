#!/usr/bin/env bash
# Writes a lock file anew: third_party/update_lock.sh requirements|benchmarks|cuda|wheel [OPTION...]
#
# NAME_lock.txt gets the newest versions for Python 3.10 that NAME.in allows, with the hashes of all their files, those
# for newer Pythons among them. With --upgrade-package PACKAGE, only that package changes. The others take the
# versions of requirements_lock.txt where it has a package, too.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
name=${1:?expected requirements, benchmarks, cuda or wheel}
constraint=()
[[ $name == requirements ]] || constraint=(--constraint requirements_lock.txt)
upgrade=("${@:2}")

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
python3 -m venv "$tools"
"$tools/bin/pip" install --quiet uv

cp "${name}_lock.txt" "$tools/lock.txt"
"$tools/bin/uv" pip compile --quiet --python-version 3.10 --python-platform x86_64-manylinux_2_28 --only-binary :all: \
  --generate-hashes --custom-compile-command "third_party/update_lock.sh $name" "${constraint[@]}" \
  "$name.in" --output-file "$tools/lock.txt" "${upgrade[@]:---upgrade}"

# The hashes are those of PyPI, whose PyTorch for Linux is built for CUDA and needs NVIDIA's libraries (3 GB). The
# project also publishes the same release built for the processor alone ("+cpu", 190 MB, no further libraries); where
# pip has an index that lists it with its hash, it is what pip takes, so its hashes are added (Linux, x86-64,
# Python 3.11 to 3.13).
cpu_builds_of_torch=(
  6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b
  4ca4a9394b0c771238a4f73590fdbbc4debad85ed0fa63d026ae1b085da7d6e2
  3fbf9c9d1f3c10c2d59d04aca426dee9ccc6ceb32d255c61e93acc3b4f75fae6
)
for hash in "${cpu_builds_of_torch[@]}"; do
  sed -i "s/^torch==[^ ]* \\\\$/&\n    --hash=sha256:$hash \\\\/" "$tools/lock.txt"
done
mv "$tools/lock.txt" "${name}_lock.txt"
