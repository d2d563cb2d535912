#!/bin/sh
# Checks of what is said about speed on a GPU without one: that bench-cuda runs, on the emulator, what it would measure;
# that its prediction adds up; and that kernels/cuda/SPEED.md is what it prints. Run from the repository's root; prints
# a line "ok ..." or "FAIL ..." for each check.
set -u
: "${BUILD:=build}"
. tests/checks.sh
bench=$BUILD/emulated/bench-cuda results=$temp/bench-cuda.jsonl

check "bench-cuda measures every kernel and a step, in both precisions" \
  "$bench" --smoke --like a100 --out "$results"

lines() {  # NUMBER BENCH PRECISION
  found=$(grep -c "^{\"bench\":\"$2\",.*\"precision\":\"$3\"" "$results")
  [ "$found" -eq "$1" ] || { echo "$found lines are of $2 in $3"; return 1; }
}
for precision in fp32 bf16; do
  check "its file has every call of a step in $precision" lines 21 "cuda kernel" $precision
  check "... the step" lines 1 "cuda step" $precision
  check "... and attention of other normalizers" lines 6 "cuda attention" $precision
done
# adds_up PRECISION: what is predicted for all calls is what is predicted for the step
adds_up() {
  grep "\"precision\":\"$1\"" "$results" | sed -n '
    s/.*"bench":"cuda \(kernel\)".*"calls":\([0-9.]*\),"ms_predicted":\([0-9.]*\).*/\1 \2 \3/p
    s/.*"bench":"cuda \(step\)".*"ms_predicted":\([0-9.]*\).*/\1 1 \2/p' | awk '
    $1 == "kernel" { calls++; sum += $2 * $3 }
    $1 == "step" { step = $3 }
    END { print calls, sum, step; exit !(calls == 21 && step > 0 && sum > 0.9999 * step && sum < 1.0001 * step) }'
}
check "what is predicted for the calls in fp32 adds up to the step" adds_up fp32
check "... and in bf16" adds_up bf16

# printed CODE TEXT OPTION...: bench-cuda ends with this code and prints the text
printed() {
  code=$1 text=$2
  shift 2
  "$bench" "$@" > "$temp/output" 2>&1
  status=$?
  cat "$temp/output"
  [ "$status" -eq "$code" ] && grep -qF -- "$text" "$temp/output"
}
check "a prediction says that it is none but that" printed 0 "NOT MEASURED" --predict a100
check "an unknown GPU is refused in one sentence" \
  printed 2 "--predict is 'b300'; it must be one of a100, h100, 4090" --predict b300
check "a GPU of which nothing is known is measured without a prediction" \
  printed 0 "no known GPU: give --like" --smoke --precisions fp32 --out "$results"
grep -v '^adamw_kernel' tests/cuda_budget.txt > "$temp/budget"
check "a kernel that the budget lacks is named" \
  printed 2 "the budget has no line for the kernel 'adamw_kernel<4>'" --predict a100 --budget "$temp/budget"

page_is_current() {
  "$bench" --predict all --markdown > "$temp/tables" || return 1
  sed -n '/^<!-- Printed by bench-cuda/,$p' kernels/cuda/SPEED.md | diff - "$temp/tables"
}
check "kernels/cuda/SPEED.md has the tables that bench-cuda prints" page_is_current

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
