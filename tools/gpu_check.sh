#!/usr/bin/env bash
# Everything that only a machine with an NVIDIA GPU can tell, in one go: tests, sanitizers, training, figures.
#
#   tools/gpu_check.sh [--out=DIR] [--data=DIR] [STEP...]     steps: tests sanitizers training benchmarks; by default all
#
# Builds with Bazel, or takes needle/backend_ndarray/backend_cuda.so where one lies in the tree. $PYTHON, by default
# python3, has NumPy, pytest and the packages of third_party/requirements.in, and PyTorch where peers shall be measured.
# --data is a folder as the experiments take it. Ends with a table of the steps; each step's output is in DIR.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

out=gpu_check data= steps=()
for argument; do
  case $argument in
    --out=*) out=${argument#--out=} ;;
    --data=*) data=${argument#--data=} ;;
    tests | sanitizers | training | benchmarks) steps+=("$argument") ;;
    *) echo "gpu_check: '$argument', expected --out=DIR, --data=DIR, tests, sanitizers, training or benchmarks" >&2; exit 2 ;;
  esac
done
((${#steps[@]})) || steps=(tests sanitizers training benchmarks)
mkdir -p "$out"

python=${PYTHON:-python3}
if [[ ! -e needle/backend_ndarray/backend_cuda.so ]]; then
  ./bazelw build --config=cuda //needle/backend_ndarray:backend_cuda.so //needle/backend_ndarray:backend_cpu.so || exit 1
  trap 'rm -f needle/backend_ndarray/backend_{cpu,cuda}.so' EXIT
  cp -f bazel-bin/needle/backend_ndarray/backend_{cpu,cuda}.so needle/backend_ndarray/
fi
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
"$python" - <<'PYTHON' || exit 1
import sys, needle
print(needle.show_config())
sys.exit(None if needle.cuda().enabled() else f"gpu_check: {needle.cuda().reason}")
PYTHON

table=()
# run NAME COMMAND...: the command's output into a file, its last line and the time into the table
run() {
  local name=$1 start=$SECONDS status=ok
  shift
  echo "== $name: $*"
  "$@" > "$out/$name.txt" 2>&1 || status="FAILED ($?)"
  table+=("$(printf '%-28s %-12s %5d s  %s' "$name" "$status" $((SECONDS - start)) "$(tail -n 1 "$out/$name.txt" | cut -c1-150)")")
  echo "${table[-1]}"
}
on_gpu() { NEEDLE_TEST_CUDA=only "$python" -m pytest -q -p no:cacheprovider "$@"; }

for step in "${steps[@]}"; do
  case $step in
    tests)
      for provider in native library auto; do
        run "conformance_$provider" env NEEDLE_CUDA_KERNELS=$provider NEEDLE_TEST_CUDA=only \
          "$python" -m pytest -q -p no:cacheprovider tests/backend_ndarray/test_conformance.py
      done
      run cuda on_gpu tests/kernels/test_cuda*.py
      run operations on_gpu tests/ops tests/nn tests/optim tests/init tests/test_autograd.py
      NEEDLE_CUDA_KERNELS=library run operations_library on_gpu tests/ops
      ;;
    sanitizers)
      for tool in memcheck racecheck; do
        run "$tool" env NEEDLE_CUDA_KERNELS=native NEEDLE_TEST_CUDA=only compute-sanitizer --tool "$tool" --error-exitcode 1 \
          "$python" -m pytest -q -p no:cacheprovider tests/kernels/test_cuda*.py
      done
      ;;
    training)
      for amp in none bfloat16 float16; do
        run "cifar_resnet9_$amp" "$python" -m experiments.cifar_resnet9 --device=cuda --amp=$amp --epochs=10 --augment \
          --weight_decay=1e-3 ${data:+--data_dir="$data"} --out="$out/cifar_resnet9_$amp"
        run "ptb_lstm_$amp" "$python" -m experiments.ptb_lstm --device=cuda --amp=$amp --epochs=2 \
          ${data:+--data_dir="$data"} --out="$out/ptb_lstm_$amp"
      done
      ;;
    benchmarks)
      run headline "$python" -m benchmarks.headline --json="$out/headline.json"
      run kernels "$python" -m benchmarks.kernels --json="$out/kernels.json" --plots="$out"
      ;;
  esac
done

printf '\n%s\n' "${table[@]}"
[[ ${table[*]} != *FAILED* ]]
