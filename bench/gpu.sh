#!/usr/bin/env bash
# One command for a machine with a GPU: builds, tests, looks for memory errors and races, verifies, measures.
#
#   [OUT=out] [LIMIT=530] [PYTHON=python3] bench/gpu.sh
#
# Needs torch for CUDA, nvcc, setuptools, pytest, hypothesis and fastrnn[cli], and no network. Leaves logs, verify.json,
# bench.json and summary.txt in $OUT, eight files at most. Every stage has a time of its own, and bench what is left of
# LIMIT seconds, so that a stage that fails or hangs costs no other. verify is bound by one core of the CPU, so it runs
# beside the tests; bench runs alone.
set -uo pipefail
cd "$(dirname "$0")/.."

OUT=${OUT:-out}
LIMIT=${LIMIT:-530}
PYTHON=${PYTHON:-python3}
export PYTHONUNBUFFERED=1 FASTRNN_CUDA=1
mkdir -p "$OUT"
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | tee "$OUT/summary.txt"
failed=0

# note NAME VERDICT SECONDS
note() { printf '%-22s %-24s %4d s\n' "$1" "$2" "$3" | tee -a "$OUT/summary.txt"; }

# stage NAME LOG SECONDS COMMAND...
stage() {
  local name=$1 log=$OUT/$2 most=$3 start=$SECONDS status=0
  shift 3
  local left=$((LIMIT - SECONDS))
  if ((left < most)); then most=$left; fi
  if ((most <= 0)); then
    note "$name" "FAILED (no time left)" 0
    return 1
  fi
  echo "== $name: $*" >>"$log"
  timeout --kill-after=5 "$most" "$@" >>"$log" 2>&1 || status=$?
  case $status in
    0) note "$name" passed $((SECONDS - start)) ;;
    124 | 137) note "$name" "FAILED (after $most s)" $((SECONDS - start)) ;;
    *) note "$name" "FAILED (exit $status)" $((SECONDS - start)) ;;
  esac
  return "$status"
}

rm -f "$OUT"/{build,tests,sanitizer,verify,bench}.log "$OUT"/{verify,bench}.json
stage build build.log 150 "$PYTHON" -m pip install --quiet --no-build-isolation --no-index --no-deps -e . || failed=1
stage verify verify.log 240 "$PYTHON" -m fastrnn verify --device cuda --json "$OUT/verify.json" &
verify=$!

# The kernels that FASTRNN_CUDA_KERNEL can force. Those that take steps serve whatever the others do not, so they have
# all the tests that run on any device; the others those that compare numbers.
read -ra kernels < <("$PYTHON" -c 'from fastrnn import _C; print(*_C.build_info()["cuda_kernels"])' || echo)
workers=()
if "$PYTHON" -c 'import xdist' 2>/dev/null; then workers=(-n 8); fi
for kernel in "${kernels[@]}"; do
  tests=(tests) most=100
  if [[ $kernel != step ]]; then tests=(tests/test_{cuda,parity,recompute}.py) most=35; fi
  stage "tests $kernel" tests.log $most env FASTRNN_CUDA_KERNEL="$kernel" \
    "$PYTHON" -m pytest -q -ra --device cuda "${workers[@]}" "${tests[@]}" || failed=1
done
if ((${#kernels[@]} == 0)); then failed=1 && note tests "FAILED (no build)" 0; fi

# Without torch's cache of memory, or a read beyond a tensor would be one inside the cache.
if sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null); then
  for tool in "memcheck --report-api-errors no" racecheck; do
    # shellcheck disable=SC2086  # options, apart
    stage "${tool%% *}" sanitizer.log 45 env PYTORCH_NO_CUDA_MEMORY_CACHING=1 \
      "$sanitizer" --error-exitcode 9 --tool $tool "$PYTHON" bench/small_shapes.py || failed=1
  done
else
  note sanitizer "left out (no such tool)" 0
fi

wait $verify || failed=1
stage bench bench.log 600 "$PYTHON" -m fastrnn bench --device cuda --json "$OUT/bench.json" \
  --budget $((LIMIT - SECONDS > 30 ? LIMIT - SECONDS - 15 : 15)) || failed=1
rm -f "$OUT"/*.part

echo
cat "$OUT/summary.txt"
exit $failed
