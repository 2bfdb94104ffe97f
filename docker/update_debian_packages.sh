#!/usr/bin/env bash
# Writes docker/debian_packages.txt anew: what Needle needs from Debian, and what this needs, as apt serves it now.
#
# Needs apt-get with the sources of Debian 12 (x86-64) and no rights; changes nothing else on the machine.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

wanted=(bazel-bootstrap ca-certificates g++ git python3 python3-dev python3-pip)

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch/lists/partial" "$scratch/archives/partial"
touch "$scratch/status" # says that nothing is installed, so that everything is listed
apt() {
  apt-get -o Dir::State::Lists="$scratch/lists" -o Dir::State::Status="$scratch/status" \
    -o Dir::Cache="$scratch" -o Debug::NoLocking=true -o APT::Sandbox::User=root "$@"
}

apt update -qq
{
  echo "# Written by docker/update_debian_packages.sh for: ${wanted[*]}"
  apt install --simulate --no-install-recommends "${wanted[@]}" |
    sed -nE 's/^Inst ([^ ]+) \(([^ ]+) .*/\1=\2/p' | LC_ALL=C sort
} > "$scratch/debian_packages.txt"
cp "$scratch/debian_packages.txt" debian_packages.txt
