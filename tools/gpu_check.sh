#!/usr/bin/env bash
# Everything that only a machine with an NVIDIA GPU can tell, step by step: tests, sanitizers, training, figures.
#
#   tools/gpu_check.sh [--out=DIR] [--data=DIR] [--minutes=N] [--quick] [--pytorch_python=PROGRAM] [STEP...]
#
# Steps, or groups of them; by default all, in this order:
#   tests       conformance_{native,library,auto} kernel_tests operations operations_library
#   training    {cifar,ptb}_{none,bfloat16,float16}, with the flags of the table in docs/mixed-precision.md
#   headline    headline_{products,layers,resnet9,lstm}
#   choice      DIR/choice_table.inc, for kernels/cuda/libraries; again adds another pass to DIR/choice.json
#   sanitizers  {memcheck,racecheck}_{kernels,conformance}, by compute-sanitizer
#   kernels     kernels_{products,convolutions,others}
#
# --minutes   no step goes on for longer than that after the start, and those that have not begun are not run
# --quick     every step in small, to see that all works
# --data      a folder as the experiments take it
#
# Builds with Bazel, or takes needle/backend_ndarray/backend_{cpu,cuda}.so where they lie in the tree. $PYTHON, by
# default python3, has the packages of third_party/requirements.in. PyTorch may have another interpreter,
# --pytorch_python; by default $PYTHON or python3, whichever can import it. No step takes longer than ten minutes. What
# each said is in DIR/STEP.txt, and DIR/table.txt gets a line as soon as it ends. The exit status is 0 if all were ok.
set -uo pipefail

tests=(conformance_{native,library,auto} kernel_tests operations operations_library)
training=({cifar,ptb}_{none,bfloat16,float16})
headline=(headline_{products,layers,resnet9,lstm})
sanitizers=({memcheck,racecheck}_{kernels,conformance})
kernels=(kernels_{products,convolutions,others})
all=("${tests[@]}" "${training[@]}" "${headline[@]}" choice "${sanitizers[@]}" "${kernels[@]}")

fail() { echo "gpu_check: $*" >&2; exit 2; }

out=gpu_check data= minutes= quick= pytorch_python= steps=()
for argument; do
  case $argument in
    --out=*) out=${argument#*=} ;;
    --data=*) data=$(realpath -m -- "${argument#*=}") ;;
    --minutes=*) minutes=${argument#*=} ;;
    --pytorch_python=*) pytorch_python=${argument#*=} ;;
    --quick) quick=1 ;;
    tests | training | headline | sanitizers | kernels) declare -n group=$argument; steps+=("${group[@]}") ;;
    *) [[ $argument != -* && " ${all[*]} " == *" $argument "* ]] ||
         fail "'$argument': expected --out=DIR, --data=DIR, --minutes=N, --pytorch_python=PROGRAM, --quick, or some of" \
           "these steps and groups: tests training headline sanitizers kernels ${all[*]}"
       steps+=("$argument") ;;
  esac
done
((${#steps[@]})) || steps=("${all[@]}")
[[ -z $minutes || $minutes =~ ^[1-9][0-9]*$ ]] || fail "--minutes=$minutes: expected a whole number of 1 or more"
[[ -z $data || -d $data ]] || fail "--data=$data: no such folder"
out=$(realpath -m -- "$out")
python=${PYTHON:-python3}
[[ $python != */* ]] || python=$(realpath -ms -- "$python")  # a virtual environment's is a link that must stay one
[[ $pytorch_python != */* ]] || pytorch_python=$(realpath -ms -- "$pytorch_python")
mkdir -p "$out" || exit 2
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2

# What must be there

missing=$("$python" - 2> /dev/null <<'PYTHON'
import importlib.util
needed = ["absl", "hypothesis", "matplotlib", "ml_dtypes", "numpy", "pytest", "safetensors", "tqdm"]
print(*(name for name in needed if importlib.util.find_spec(name) is None))
PYTHON
) || fail "PYTHON=$python does not run"
[[ -z $missing ]] || fail "PYTHON=$python has no ${missing// /, }: expected the packages of third_party/requirements.in"

if [[ ! -e needle/backend_ndarray/backend_cuda.so ]]; then
  ./bazelw build --config=cuda //needle/backend_ndarray:backend_{cpu,cuda}.so || exit 2
  trap 'rm -f needle/backend_ndarray/backend_{cpu,cuda}.so' EXIT
  cp -f bazel-bin/needle/backend_ndarray/backend_{cpu,cuda}.so needle/backend_ndarray/
fi
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
configuration=$("$python" - <<'PYTHON'
import sys, needle
if not (needle.cpu().enabled() and needle.cuda().enabled()):
    sys.exit(f"gpu_check: {needle.cpu().reason or needle.cuda().reason}; $PYTHON chooses another interpreter")
print(needle.show_config())
PYTHON
) || exit 2

has_pytorch() {
  PYTHONPATH= "$1" -c 'import sys, numpy, torch
print("PyTorch", torch.__version__, "of", sys.argv[1], "" if torch.cuda.is_available() else "(which sees no GPU)")
' "$1" 2> /dev/null
}
peer="no PyTorch: figures are without a peer"
if [[ -n $pytorch_python ]]; then
  peer=$(has_pytorch "$pytorch_python") || fail "--pytorch_python=$pytorch_python cannot import PyTorch and NumPy"
else
  for candidate in "$python" python3; do
    if found=$(has_pytorch "$candidate"); then peer=$found pytorch_python=$candidate; break; fi
  done
fi

sanitizer=$(command -v compute-sanitizer || true)
for folder in "${CUDA_HOME:-/usr/local/cuda}/bin" "$(dirname "$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)")"; do
  [[ -n $sanitizer || ! -x $folder/compute-sanitizer ]] || sanitizer=$folder/compute-sanitizer
done

# The steps

pytest=("$python" -m pytest -q -p no:cacheprovider)
conformance=(tests/backend_ndarray/test_conformance.py ${quick:+-k float32})
kernel_tests=(tests/kernels/test_cuda*.py)
own_kernel_tests=($(printf '%s\n' "${kernel_tests[@]}" | grep -v libraries))  # what a library launches is not ours
peers=(--device=cuda ${pytorch_python:+--pytorch_python="$pytorch_python"} ${quick:+--quick --runs=2})
operations=(tests/ops tests/nn tests/optim tests/init tests/amp tests/test_autograd.py)
[[ -z $quick ]] || operations=(tests/optim tests/nn/test_linear.py)

# step NAME: its command, and the variables that it gets
step() {
  local name=$1 amp=${1#*_} benchmark=${1%%_*}
  variables=(NEEDLE_TEST_CUDA=only)
  case $name in
    conformance_*) variables+=(NEEDLE_CUDA_KERNELS=${name#*_}) command=("${pytest[@]}" "${conformance[@]}") ;;
    kernel_tests) command=("${pytest[@]}" "${kernel_tests[@]}") ;;
    operations) command=("${pytest[@]}" "${operations[@]}") ;;
    operations_library) variables+=(NEEDLE_CUDA_KERNELS=library) command=("${pytest[@]}" "${operations[0]}") ;;
    cifar_*) command=("$python" -m experiments.cifar_resnet9 --device=cuda --amp="$amp" --epochs=4 --augment) ;;
    ptb_*) command=("$python" -m experiments.ptb_lstm --device=cuda --amp="$amp" --epochs=1 --limit_batches=1000) ;;
    headline_* | kernels_*)
      command=("$python" -m "benchmarks.$benchmark" "${peers[@]}" --json="$out/$name.json")
      case $name in
        headline_products) command+=(--only='matmul*') ;;
        headline_layers) command+=(--only=conv,batch_norm,add) ;;
        headline_*) command+=(--only="${name#*_}*") ;;
        kernels_products) command+=(--only='matmul*,attention*,lstm*' --plots="$out/$name") ;;
        kernels_convolutions) command+=(--only='conv*' --plots="$out/$name") ;;
        kernels_others) command+=(--only='[!aclm]*,ad*,avg*,copy,chain,cross*,layer*,max*' --plots="$out/$name") ;;
      esac ;;
    choice)
      command=("$python" -m benchmarks.choose_kernels --device=cuda --results="$out/choice.json"
               --passes=1 --table="$out/choice_table.inc" ${quick:+--quick --allow_disturbed}) ;;
    memcheck_* | racecheck_*)
      # Arrays have blocks of just their size, so that a step outside is seen. Tests make calls of CUDA fail on purpose,
      # so only what kernels do counts.
      variables+=(NEEDLE_CUDA_KERNELS=native NEEDLE_MEMORY_POOL=off)
      command=("$sanitizer" --tool "${name%_*}" --report-api-errors no --launch-timeout 0 --error-exitcode 99)
      if [[ $name == *_kernels ]]; then
        command+=("${pytest[@]}" "${own_kernel_tests[@]}" ${quick:+-k test_cuda_softmax})
      else
        command+=("${pytest[@]}" "${conformance[@]}")
      fi ;;
  esac
  if [[ $name == cifar_* || $name == ptb_* ]]; then
    command+=(--out="$out/$name" ${data:+--data_dir="$data"} ${quick:+--epochs=1 --limit_batches=3 --batch_size=4})
    [[ $name == cifar_* ]] || command+=(${quick:+--hidden_size=16})
  fi
}

# said NAME: what the step found out, in a line
said() {
  "$python" - "$1" "$out/$1.txt" "$out/$1.json" <<'PYTHON'
import json, pathlib, re, sys
name, text, results = sys.argv[1], pathlib.Path(sys.argv[2]).read_text(errors="replace"), pathlib.Path(sys.argv[3])
lines = [line for line in text.splitlines() if line.strip()] or [""]
if name.startswith(("cifar", "ptb")) and lines[-1].startswith("{"):
    run = json.loads(lines[-1])
    known = ("data", "epochs", "test_accuracy", "valid_perplexity", "samples_per_second", "words_per_second", "seconds")
    print(*(f"{key} {run[key]}" for key in known if key in run), sep=", ")
elif name.startswith(("headline", "kernels")) and results.exists():
    rows = json.loads(results.read_text())["rows"]
    ratios = {row["row"]: result["ratio_to_best_peer"] for row in rows for result in row["results"]
              if result["contender"] == "needle cuda auto"}
    failures = dict.fromkeys(failure for row in rows for failure in row["failures"])
    print(", ".join(f"{row} {ratio:.2f} x" if ratio else row for row, ratio in ratios.items()), *failures, sep="; ")
else:
    summaries = [line.strip("= ") for line in lines if re.search(r"SUMMARY|\d+ (passed|failed|errors?)\b.* in ", line)]
    print("; ".join(summaries or lines[-1:])[:200])
PYTHON
}

say() { echo "$*" | tee -a "$out/table.txt"; }

say "$(date -u '+%F %T') UTC, $(git describe --always --dirty 2> /dev/null || echo 'no git'), $peer"
gpu=(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader)
say "$("${gpu[@]}" 2> /dev/null || echo "no nvidia-smi to name the driver")"
say "$(grep -E '^(needle|cuda)' <<< "$configuration")"
[[ -n $data ]] || say "no --data: the experiments look elsewhere, and train on synthetic data where there are none"
unfinished=0
for name in "${steps[@]}"; do
  step "$name"
  status=ok start=$SECONDS limit=580
  if [[ -n $minutes ]]; then
    left=$((60 * minutes - SECONDS))
    limit=$((left < limit ? left : limit))
  fi
  [[ $name == choice ]] || rm -f "$out/$name.json"
  if [[ $name == *check_* && -z $sanitizer ]]; then
    status="not run" found="no compute-sanitizer on the PATH, in \$CUDA_HOME/bin or beside nvcc"
  elif ((limit < 20)); then
    status="not run" found="--minutes=$minutes are over"
  else
    echo "== $name: ${variables[*]} ${command[*]}"
    # As Ctrl-C, after which pytest and the programs say how far they came.
    env "${variables[@]}" timeout --signal=INT --kill-after=15 "$limit" "${command[@]}" > "$out/$name.txt" 2>&1 ||
      status="FAILED ($?)"
    [[ $status != "FAILED (124)" && $status != "FAILED (137)" ]] || status="TIME OUT"
    found=$(said "$name")
  fi
  [[ $status == ok ]] || unfinished=$((unfinished + 1))
  say "$(printf '%-22s %-12s %4d s  %s' "$name" "$status" $((SECONDS - start)) "$found")"
done
say "$((${#steps[@]} - unfinished)) of ${#steps[@]} steps ok"
((unfinished == 0))
