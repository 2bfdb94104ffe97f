#!/usr/bin/env bash
# Proves README.md on a machine that has nothing but Debian: tools/fresh_machine.sh [--quick=WHEEL]
#
# Makes a bare Debian 12, builds docker/cpu.Dockerfile on it, and in that image, from a clean clone of the commit that
# is checked out, runs README.md's two commands, then the tests again without a network. Installs the wheel on another
# bare Debian. Ends with a table. With --quick nothing is compiled: the network is cut while the build's repositories
# are fetched, and WHEEL is what is installed. Needs root and Debian 12; leaves nothing behind. docs/containers.md.
#
# Exits with 1 where something fails, and with 77 where the machine is not one that it runs on.
set -euo pipefail
tools=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
export DEBIAN_FRONTEND=noninteractive
source "$tools/host_configuration.sh"

base_image=localhost/bare-debian
cpu_image=localhost/needle-cpu
wheel=
work=
current=
table=()
exec 3>&2 # standard error, for a trap that runs while a step's output goes to a file

fail() {
  echo "fresh_machine: $*" >&3
  exit 1
}

unfit() {
  echo "fresh_machine: $*" >&3
  exit 77
}

# ---- what it needs -------------------------------------------------------------------------------------------------

check_machine() {
  local needed_gb=$1 missing=() package free_gb
  ((EUID == 0)) || unfit "needs root: it makes a Debian root and runs containers in it"
  [[ $(uname -m) == x86_64 ]] || unfit "needs an x86-64 machine"
  grep -qs '^VERSION_CODENAME=bookworm$' /etc/os-release || unfit "needs Debian 12, whose package sources it passes on"

  free_gb=$(($(df --output=avail -B1M "${TMPDIR:-/tmp}" | tail -n 1) / 1024))
  ((free_gb >= needed_gb)) ||
    unfit "needs $needed_gb GB in ${TMPDIR:-/tmp}, which has $free_gb GB; TMPDIR names another folder"

  for package in buildah debootstrap git iproute2; do
    [[ -e /var/lib/dpkg/info/$package.list ]] || missing+=("$package")
  done
  if ((${#missing[@]})); then
    echo "fresh_machine: installing ${missing[*]}"
    if ! { apt-get update -qq && apt-get install -qq --no-install-recommends "${missing[@]}"; } >/dev/null 2>&1; then
      unfit "cannot install ${missing[*]}; apt-get tells why"
    fi
  fi
}

# ---- steps, their table, and how it ends ---------------------------------------------------------------------------

# step NAME COMMAND...: the command's output goes to a file, its time and what it left in $result into the table.
step() {
  local start=$SECONDS
  current=$1
  result=
  echo "fresh_machine: $current"
  "${@:2}" >"$work/log" 2>&1 </dev/null
  table+=("$(printf '%-44s %5d s   %s' "$current" $((SECONDS - start)) "$result")")
  echo "fresh_machine: $current: done in $((SECONDS - start)) s"
  current=
}

# Says in one line why the current step failed; what is not a matter of the machine needs its output, too.
explain_failure() {
  local unreachable='Failed getting release file|Could not resolve|Temporary failure|Unable to connect|Failed to fetch'
  unreachable+='|Retrying \(|no package index can be reached|Couldn.t download'
  local line
  if line=$(tail -n 60 "$work/log" | grep -a 'No space left on device' | tail -n 1); then
    echo "fresh_machine: $current: the disk is full: $line"
  elif line=$(tail -n 60 "$work/log" | grep -aE "$unreachable|cannot be reached" | tail -n 1); then
    echo "fresh_machine: $current: a package registry cannot be reached: $line"
  else
    tail -n 40 "$work/log"
    echo "fresh_machine: $current: failed, its last lines are above"
  fi >&3
}

# Mounts are in a namespace of this script's own. Nothing is removed through one that could not be undone.
remove_work() {
  local target
  while read -r target; do
    umount --recursive "$target" 2>/dev/null || true
  done < <(awk -v work="$work/" 'index($5, work) == 1 { print $5 }' /proc/self/mountinfo)
  if grep -qF " $work/" /proc/self/mountinfo; then
    echo "fresh_machine: $work is still mounted and stays" >&3
  else
    rm -rf "$work"
  fi
}

finish() {
  local status=$?
  trap - EXIT
  trap '' INT TERM HUP
  if ((status == 130 || status == 143)); then
    echo "fresh_machine: interrupted, cleaning up" >&3
  elif ((status)) && [[ -n $current ]]; then
    explain_failure
    status=1
  fi
  [[ -z $work ]] || remove_work
  exit "$status"
}

# ---- containers ----------------------------------------------------------------------------------------------------

images() {
  buildah --root "$work/storage" --runroot "$work/run" "$@"
}

folders_of_wheels() {
  host_wheel_folders | sed 's/.*/--volume=&:&:ro/'
}

# inside online|offline CONTAINER COMMAND: a shell whose processes, Bazel's server among them, end with the command.
inside() {
  local apart=(unshare --mount --pid --fork --kill-child --mount-proc) volumes
  [[ $1 == online ]] || apart+=(--net)
  mapfile -t volumes < <(folders_of_wheels)
  "${apart[@]}" bash -c '
    ip link set lo up
    if [[ $0 == offline && -n $(ip -oneline link show up | grep -v ": lo:") ]]; then
      echo "the network is not cut off"
      exit 1
    fi
    exec "$@"' "$1" \
    buildah --root "$work/storage" --runroot "$work/run" run --isolation=chroot --volume="$work/exchange:/exchange" \
    "${volumes[@]}" "$2" -- bash -euxo pipefail -c "$3"
}

size_of_image() {
  images images --format '{{.Size}}' "$1"
}

make_base_image() {
  local root=$work/root container name mirror
  mirror=$(host_debian_mirror)
  [[ -n $mirror ]] || { echo "apt's lists name no Debian 12: run apt-get update"; return 1; }
  http_proxy=$(host_proxy_of_apt) debootstrap --variant=minbase bookworm "$root" "$mirror"
  rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
  configure_root "$root"
  container=$(images from scratch)
  cp -a "$root/." "$(images mount "$container")"
  for name in $(host_variables); do
    images config --env "$name=${!name}" "$container"
  done
  images config --cmd /bin/bash "$container"
  images commit --quiet --rm "$container" "$base_image"
  rm -rf "$root"
  result=$(size_of_image "$base_image")
}

# Sets $versions. Debian replaces versions in time: that is to be seen, and no reason to prove nothing.
find_versions_of_packages() {
  versions=pinned
  images from --name versions "$base_image"
  cp docker/debian_packages.txt "$work/exchange"
  if ! inside online versions "apt-get update -qq; grep -v '^#' /exchange/debian_packages.txt |
    xargs apt-get install --simulate --no-install-recommends --allow-downgrades" >"$work/versions" 2>&1; then
    cat "$work/versions"
    grep -qE "^E: Version '.*' for '.*' was not found" "$work/versions" || return 1
    echo "fresh_machine: Debian has replaced versions: docker/update_debian_packages.sh" >&3
    versions=current
  fi
  images rm versions
}

build_cpu_image() {
  local volumes versions
  mapfile -t volumes < <(folders_of_wheels)
  find_versions_of_packages
  images bud --isolation=chroot --network=host "${volumes[@]}" --build-arg "BASE_IMAGE=$base_image" \
    --build-arg "DEBIAN_VERSIONS=$versions" --build-arg "REVISION=$(git rev-parse HEAD)" \
    --file docker/cpu.Dockerfile --tag "$cpu_image" .
  images from --name needle "$cpu_image"
  result="$(size_of_image "$cpu_image"), Debian's packages: $versions"
}

# ---- in the image, as its user -------------------------------------------------------------------------------------

clone='git -c advice.detachedHead=false clone --quiet /exchange/needle.bundle'

tests_of_last_step() {
  grep -m1 -aoE '[0-9]+ tests? pass.*|Executed .*' "$work/log" | tail -n 1
}

run_tests() {
  inside online needle "$clone needle; cd needle; ./bazelw test --disk_cache=\$HOME/compiled //..."
  result=$(tests_of_last_step)
}

# README.md's program, cut short. Where its data cannot be had it trains on the synthetic set.
run_program() {
  inside online needle "cd needle; ./bazelw run --disk_cache=\$HOME/compiled //experiments:cifar_resnet9 -- \
    --epochs=1 --limit_batches=10"
  result=$(grep -aoE 'using the synthetic set' "$work/log" || echo 'CIFAR-10')
}

build_wheel() {
  inside online needle "cd needle; ./bazelw build --disk_cache=\$HOME/compiled //:wheel; cp bazel-bin/dist/*.whl /exchange"
  wheel=$(echo "$work"/exchange/*.whl)
  result=$(du -h --apparent-size "$wheel" | cut -f 1)
}

# From nothing but the image: another clone, another output folder. What the first run compiled is taken from its cache,
# since compiling needs no network; every repository is fetched again, and every test is run again.
run_tests_offline() {
  inside online needle 'chmod -R u+w ~/.cache/bazel; rm -rf ~/.cache/bazel needle'
  inside offline needle "$clone elsewhere; cd elsewhere
    ./bazelw test --disk_cache=\$HOME/compiled --nocache_test_results //..."
  result=$(tests_of_last_step)
}

fetch_offline() {
  inside offline needle "$clone needle; cd needle; ./bazelw build --nobuild //..."
  result=$(inside online needle 'du -sh ~/.cache/bazel' 2>/dev/null | cut -f 1)
}

# ---- the wheel, on a Debian without compiler, Bazel and OpenMP -------------------------------------------------------

test_wheel() {
  git show HEAD:README.md | awk '/^```python/ { inside = ++blocks <= 2; next } /^```/ { inside = 0 } inside' \
    > "$work/exchange/example.py"
  git archive HEAD experiments | tar -x -C "$work/exchange"
  [[ $wheel -ef $work/exchange/$(basename "$wheel") ]] || cp "$wheel" "$work/exchange"
  images from --name bare "$base_image"
  inside online bare 'apt-get update -qq
    apt-get install -qq --no-install-recommends python3-venv
    test -z "$(command -v g++ bazel)$(find / -xdev -name "libgomp*")"
    python3 -m venv /needle
    /needle/bin/pip install --no-cache-dir /exchange/*.whl absl-py
    cd /exchange
    /needle/bin/needle info
    /needle/bin/python example.py
    /needle/bin/python -m experiments.cifar_resnet9 --epochs=1 --limit_batches=3 --out=/tmp/resnet9'
  result="$(du -h --apparent-size "$wheel" | cut -f 1), installed $(inside online bare 'du -sh /needle' 2>/dev/null |
    cut -f 1) with NumPy and the like"
}

main() {
  local needed_gb=4 argument
  for argument; do
    case $argument in
      --quick=?*) wheel=$(realpath "${argument#--quick=}") needed_gb=3 ;;
      *) fail "'$argument', expected nothing or --quick=WHEEL" ;;
    esac
  done
  [[ -z $wheel || -f $wheel ]] || fail "there is no $wheel; ./bazelw build //:wheel makes it"
  cd "$tools/.."
  check_machine "$needed_gb"
  trap finish EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  work=$(mktemp -d --tmpdir fresh_machine.XXXXXX)
  chmod 711 "$work"
  mkdir -m 1777 "$work/exchange"
  git bundle create --quiet "$work/exchange/needle.bundle" HEAD

  step "Debian 12, bare" make_base_image
  step "docker/cpu.Dockerfile" build_cpu_image
  if [[ -n $wheel ]]; then
    step "fetch, without a network" fetch_offline
  else
    step "bazelw test //..." run_tests
    step "bazelw run //experiments:cifar_resnet9" run_program
    step "bazelw build //:wheel" build_wheel
    step "bazelw test //..., without a network" run_tests_offline
  fi
  step "wheel, on a bare Debian" test_wheel

  printf '\n%-44s %7s   %s\n' step time result
  printf '%s\n' "${table[@]}"
  echo "in all $((SECONDS / 60)) min $((SECONDS % 60)) s on $(nproc) cores"
}

# Mounts in a namespace of its own are gone when it ends, however it ends.
if [[ -z ${FRESH_MACHINE_APART-} ]] && ((EUID == 0)); then
  unshare --mount --pid --net --fork true 2>/dev/null || unfit "needs the right to make namespaces and mounts"
  FRESH_MACHINE_APART=1 exec unshare --mount -- "$tools/fresh_machine.sh" "$@"
fi
main "$@"
