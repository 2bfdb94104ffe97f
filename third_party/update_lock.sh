#!/usr/bin/env bash
# Writes requirements_lock.txt anew from requirements.in: the newest versions for Python 3.10, with the hashes of all
# their files, those for newer Pythons among them. With --upgrade-package NAME, only that package changes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
python3 -m venv "$tools"
"$tools/bin/pip" install --quiet uv

"$tools/bin/uv" pip compile --quiet --python-version 3.10 --python-platform x86_64-manylinux_2_28 --only-binary :all: \
  --generate-hashes --custom-compile-command third_party/update_lock.sh \
  requirements.in --output-file requirements_lock.txt "${@:---upgrade}"
