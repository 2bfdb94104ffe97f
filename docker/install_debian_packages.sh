#!/usr/bin/env bash
# Installs debian_packages.txt, which lies beside this script, in an image: install_debian_packages.sh pinned|current
set -euo pipefail

mapfile -t packages < <(grep -v '^#' "$(dirname "$0")/debian_packages.txt")
case ${1-} in
  pinned) ;;
  current) packages=("${packages[@]%%=*}") ;;
  *) echo "install_debian_packages: DEBIAN_VERSIONS is '${1-}', expected pinned or current" >&2; exit 1 ;;
esac

export DEBIAN_FRONTEND=noninteractive
# stop REASON: with what apt-get says itself
stop() {
  grep '^E:' /tmp/apt.log >&2 || tail -n 5 /tmp/apt.log >&2
  echo "install_debian_packages: $1" >&2
  exit 1
}

apt-get update -qq --error-on=any >/tmp/apt.log 2>&1 || stop "Debian's packages cannot be reached"
# A base image that is newer than the list is taken back to it.
apt-get install -qq --no-install-recommends --allow-downgrades "${packages[@]}" >/tmp/apt.log 2>&1 ||
  stop "where Debian has replaced versions, run docker/update_debian_packages.sh or set DEBIAN_VERSIONS=current"
rm -rf /tmp/apt.log /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log /var/cache/ldconfig/aux-cache
