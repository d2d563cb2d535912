#!/bin/sh
# Measures with `bench --quick` and compares with tests/bench_baseline.json; `make bench-check` calls it. A regression counts
# if three measurements, the best of which is judged, agree on it: the load of a shared machine comes and goes by the minute.
#
#   tests/bench_check.sh [--write-baseline]    with the option, three measurements become the baseline
set -u
: "${BUILD:=build}"
results=
for attempt in 1 2 3; do
  "$BUILD/bench" --quick --out "$BUILD/bench-check-$attempt.jsonl" || exit
  results="$results $BUILD/bench-check-$attempt.jsonl"
  [ $# -eq 0 ] || continue
  echo
  "$BUILD/bench" --check $results
  status=$?
  [ $status -eq 1 ] || exit $status
done
[ $# -gt 0 ] || exit 1
"$BUILD/bench" --check $results "$1"
