#!/bin/sh
# Checks of the benchmark: that it runs, that its file has what it promises, and that bench-check notices a regression.
# Run from the repository's root; prints a line "ok ..." or "FAIL ..." for each check.
set -u
: "${BUILD:=build}"
. tests/checks.sh
results=$temp/bench.jsonl baseline=$temp/baseline.json

check "bench runs every group at tiny shapes" "$BUILD/bench" --smoke --out "$results"

has_fields() {
  for field in bench model B T normalizer precision threads ms_best ms_median tokens_per_s gflops roof_gflops roof_fraction \
    peak_bytes; do
    [ "$(grep -c "\"$field\":" "$results")" -eq "$(wc -l < "$results")" ] || { echo "a line lacks $field"; return 1; }
  done
}
check "every line of its file has all fields" has_fields

has_benches() {
  for bench in machine gemm "gemm total" attention part step share "scaling threads" "scaling T"; do
    grep -q "^{\"bench\":\"$bench\"," "$results" || { echo "no line is of $bench"; return 1; }
  done
}
check "every kind of line is there" has_benches

# judged CODE TEXT [RESULTS]: bench-check of $temp/doctored, and of another file, ends with this code and prints the text
judged() {
  "$BUILD/bench" --check "$temp/doctored" ${3-} --baseline "$baseline" > "$temp/output" 2>&1
  status=$?
  cat "$temp/output"
  [ "$status" -eq "$1" ] && grep -qF -- "$2" "$temp/output"
}

check "results become a baseline" "$BUILD/bench" --check "$results" --baseline "$baseline" --write-baseline
cp "$results" "$temp/doctored"
check "results are no regression against themselves" judged 0 "No ratio is worse"
sed '/"bench":"step"/s/"roof_fraction":[^,}]*/"roof_fraction":0.0001/' "$results" > "$temp/doctored"
check "a slower update is a regression" judged 1 "REGRESSION update of tiny (2,16), fp32, of the roof: it was"
check "unless another measurement refutes it" judged 0 "No ratio is worse" "$results"
sed '/"normalizer":"ssmax",/s/"over_softmax":/"over_softmax":9/' "$results" > "$temp/doctored"
check "a slower normalizer is a regression" judged 1 "REGRESSION attention (2,2,32,8), ssmax over softmax: it was"
sed '/"normalizer":"ssmax",/s/"over_softmax":[0-9.]*/"over_softmax":0.01/' "$results" > "$temp/doctored"
check "a faster one is none" judged 0 "No ratio is worse"
grep -v '"part":"AdamW"' "$results" > "$temp/doctored"
check "what is no longer measured is a regression" judged 1 "REGRESSION AdamW, of triad: it was not measured"
sed 's/"cpu":"[^"]*"/"cpu":"another"/' "$temp/doctored" > "$temp/other" && mv "$temp/other" "$temp/doctored"
check "another machine than the baseline's is not judged" judged 0 "Not judged"
sed '2s/}$//' "$results" > "$temp/doctored"
check "a broken line is named" judged 2 "line 2 is no JSON object"
sed '2s/"precision":/"other":/' "$results" > "$temp/doctored"
check "a missing field is named" judged 2 "line 2 lacks the field 'precision'"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
