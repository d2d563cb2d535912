#!/bin/sh
# Runs fuzz targets, two at a time: `make fuzz` calls it with their names. From the environment: BUILD, MINUTES.
#
# Each starts from tests/fuzz/corpus and from what earlier runs kept in $BUILD/fuzz/corpus. Prints a line "ok ..." or
# "FAIL ..." for each and ends with "N passed, N failed". What is found goes into $BUILD/fuzz/found; once it is mended, the
# input belongs into tests/fuzz/corpus/TARGET, under a name that tells.
set -u
: "${BUILD:?}" "${MINUTES:=1}"
case $MINUTES in
  '' | *[!0-9]* | 0) echo "MINUTES is '$MINUTES'; it must be a number of whole minutes" >&2; exit 2 ;;
esac

# The files of the targets lie in memory where the system has a folder for that.
memory=/dev/shm
[ -w "$memory" ] || memory=${TMPDIR:-/tmp}
temp=$(mktemp -d "$memory/attnorm-fuzz-XXXXXX") || exit 2
trap 'rm -rf "$temp"' EXIT
trap 'exit 130' INT TERM

# fuzz TARGET: 60 s per minute, then one line
fuzz() {
  log=$BUILD/fuzz/$1.log found=$BUILD/fuzz/found/$1- dictionary=tests/fuzz/$1.dict
  mkdir -p "$BUILD/fuzz/corpus/$1" "$BUILD/fuzz/found" "$temp/$1"
  TMPDIR=$temp/$1 "$BUILD/fuzz/$1" -max_total_time=$((60 * MINUTES)) -timeout=10 -rss_limit_mb=1024 -max_len=4096 \
    -print_final_stats=1 -artifact_prefix="$found" $([ ! -e "$dictionary" ] || echo "-dict=$dictionary") \
    "$BUILD/fuzz/corpus/$1" "tests/fuzz/corpus/$1" > "$log" 2>&1
  status=$?
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  speed=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")
  coverage=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
  facts="${runs:-0} executions, ${speed:-0} per second, ${coverage:-0} edges covered"
  if [ $status -eq 0 ]; then
    echo "ok   $1: $facts"
    return
  fi
  input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
  reason=$(sed -n -e 's/^ *what(): *//p' -e 's/^SUMMARY: //p' -e 's/.*runtime error: //p' "$log" | head -n 1)
  echo "FAIL $1: $facts; ${reason:-see $log}"
  [ -z "$input" ] || echo "     repeat it with: $BUILD/fuzz/$1 -timeout=10 '$input'"
}

# Two queues, so that both cores have work until the end.
turn=0 first= second=
for target; do
  if [ $((turn % 2)) -eq 0 ]; then first="$first $target"; else second="$second $target"; fi
  turn=$((turn + 1))
done
for queue in "$first" "$second"; do
  for target in $queue; do
    fuzz "$target" > "$temp/$target.report"
    cat "$temp/$target.report"
  done &
done
wait

passed=$(cat "$temp"/*.report | grep -c '^ok ')
failed=$(($# - passed))
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
