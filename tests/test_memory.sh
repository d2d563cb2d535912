#!/bin/sh
# Memory: the printed plan against what the programs take, too little of it, and none that grows. Run from the
# repository's root after `make NORMALIZER='softmax ssmax' all`, on Linux, not in a build with sanitizers, which take
# memory of their own; prints a line "ok ..." or "FAIL ..." for each check, and "N passed, N failed" at the end.
#
# What is measured leaves out pages of files, the program's own and token files, which the system can drop at any time:
# for train it is peak_bytes in its last record, for the others what the kernel says while they run.
set -u
export OMP_WAIT_POLICY=passive
build=$(cd "${BUILD:=build}" && pwd) || exit 2
softmax=$build/softmax ssmax=$build/ssmax
. tests/checks.sh
. tests/programs.sh
mkdir "$temp/files" && cd "$temp/files" || exit 2  # what the checks need lies in $temp


# --- the plan ---------------------------------------------------------------------------------------------------------

# A file of $2 tokens (uint16, all of them 0) as llm.c writes them: magic 20240520, version 1, their number.
write_tokens() {
  count=$(printf '\\%03o\\%03o\\%03o' $(($2 % 256)) $(($2 / 256 % 256)) $(($2 / 65536)))
  { printf "\210\330\064\001\001\000\000\000$count\000"; head -c $((1024 - 12 + 2 * $2)) /dev/zero; } > "$1"
}

# The total of a line "memory  12.3 MiB = ..." of the last run, in bytes.
planned() {
  awk '/^memory / { unit["bytes"] = 1; unit["KiB"] = 1024; unit["MiB"] = 1048576; unit["GiB"] = 1073741824
                    printf "%.0f", $2 * unit[$3] }' "$temp/out"
}

# near PLAN PEAK: they differ by 5 % or 32 MB at most
near() {
  awk -v plan="$1" -v peak="$2" 'BEGIN {
    difference = peak > plan ? peak - plan : plan - peak
    exit !(plan > 0 && peak > 0 && (difference <= 0.05 * plan || difference <= 32e6)) }'
}
megabytes() { awk -v bytes="$1" 'BEGIN { printf "%.0f MB", bytes / 1e6 }'; }

# compared NAME PLAN PEAK, in bytes, of the last run
compared() {
  [ "$status" -eq 0 ] || check "$1" ended 0
  check "$1: $(megabytes "${2:-0}") planned, $(megabytes "${3:-0}") taken" near "${2:-0}" "${3:-0}"
}

# trained NAME OUT PROGRAM OPTION...
trained() {
  name=$1 out=$2
  shift 2
  run "$@" --out "$out"
  compared "$name" "$(planned)" "$(grep '"event":"end"' "$out/metrics.jsonl" | tail -n 1 |
    sed 's/.*"peak_bytes":\([0-9]*\).*/\1/')"
}

# watched COMMAND...: as `run`; the most memory that it held is in $peak. The kernel's mark is read while the command
# runs, so what it takes in its last hundredth of a second may be missed.
watched() {
  command="$*"
  "$@" > "$temp/out" 2> "$temp/err" < /dev/null &
  while cat "/proc/$!/status" > "$temp/status" 2> /dev/null && grep -q RssFile "$temp/status"; do
    mv "$temp/status" "$temp/last"
    sleep 0.01
  done
  wait $!
  status=$?
  peak=$(awk '/^VmHWM/ { most = $2 } /^RssFile/ { files = $2 }
              END { printf "%.0f", (most - files) * 1024 }' "$temp/last")
}

# used_again NAME RUN DATA: a run that goes on, one that starts from its weights, and the programs that use a model
used_again() {
  trained "$1 --resume" "$2" "$softmax/train" --resume --steps 3
  trained "$1 --init-from" "$2-init" "$softmax/train" --init-from "$2" --data "$3" --batch-size 1 --grad-accum 1 \
    --steps 1 --warmup-steps 0 --eval-tokens 100
  watched "$softmax/evaluate" --checkpoint "$2" --data "$3" --batch-size 1
  alone=$(planned)
  compared "evaluate, $1" "$alone" "$peak"
  [ "$3" != bytes ] && return
  watched "$softmax/evaluate" --checkpoint "$2" --data "$3" --batch-size 16
  compared "evaluate --batch-size 16, $1" "$(planned)" "$peak"
  watched "$softmax/sample" --checkpoint "$2" --tokens 20
  compared "sample, $1" "$alone" "$peak"
}

write_text
for copy in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do cat text.txt; done > long.txt
run "$build/prepare" --input long.txt --out bytes
free_gib=$(awk '/^MemAvailable/ { print int($2 / 1048576) }' /proc/meminfo)
presets="tiny small"
[ "$free_gib" -lt 4 ] || presets="$presets char"
for preset in $presets; do
  options="--preset $preset --data bytes --warmup-steps 0 --eval-tokens 3000"
  trained "$preset, ssmax, without attention records" "plain-$preset" "$ssmax/train" $options --steps 1 \
    --checkpoint-every 0 --attention-every 0
  trained "$preset, with attention records and checkpoints" "$preset" "$softmax/train" $options --steps 2 \
    --checkpoint-every 1 --attention-every 2
  used_again "$preset" "$preset" bytes
  rm -r "$preset" "$preset-init" "plain-$preset"
done

if [ "$free_gib" -ge 8 ]; then
  mkdir gpt2-tokens
  write_tokens gpt2-tokens/train.bin 10000
  write_tokens gpt2-tokens/val.bin 1100
  options="--data gpt2-tokens --grad-accum 1 --warmup-steps 0 --eval-every 0"
  trained "gpt2, with checkpoints" gpt2 "$softmax/train" --preset gpt2 $options --steps 2 --checkpoint-every 1 \
    --keep 1 --attention-every 0
  watched "$softmax/evaluate" --checkpoint gpt2 --data gpt2-tokens --batch-size 4
  compared "evaluate, gpt2" "$(planned)" "$peak"
  rm -r gpt2
  trained "gpt2-ssmax, with attention records" gpt2-ssmax "$ssmax/train" --preset gpt2-ssmax $options --steps 1 \
    --attention-every 1
  rm -r gpt2-ssmax
else
  echo "skipped: gpt2 and gpt2-ssmax, which need 8 GiB, for $free_gib GiB of memory are free; char needs 4"
fi

# --- too little of it -------------------------------------------------------------------------------------------------

# below KIB PROGRAM...: `run` with so much address space
below() {
  limit=$1
  shift
  run sh -c "ulimit -v $limit && exec \"\$@\"" sh "$@"
}

small="$softmax/train --preset small --data bytes --warmup-steps 0 --steps 1 --eval-tokens 100 --checkpoint-every 0"
snapshot > "$temp/before"
below 120000 $small --out x
refused_with_a_batch() { refusal "--batch-size 16 with sequences of 256 tokens needs| are free; --batch-size | fits"; }
check "a model beyond the limit of address space is refused with the batch that fits" refused_with_a_batch
batch=$(sed -n 's/.*free; --batch-size \([0-9]*\) fits.*/\1/p' "$temp/err")
below 120000 $small --out x --batch-size "${batch:-none}"
check "... and that batch fits" ended 0 "done: "
rm -rf x
below 60000 $small --out x --threads 64
check "threads whose stacks are beyond it are refused" refusal "64 threads (--threads) need| for their stacks"

# At any limit a run ends well or with one sentence, and leaves no half of a checkpoint.
one_way_or_the_other() {
  for limit in 24000 28000 32000 36000 40000 50000 60000 80000 120000 160000 200000; do
    below "$limit" $small --out x --attention-every 1
    case $status in
      0) ls x/checkpoints/step-00000001/SHA256SUMS || return 1 ;;
      [12]) one_line && grep "^train: " "$temp/err" && [ ! -e x/checkpoints ] || return 1 ;;
      *) echo "$limit: exit code $status"; cat "$temp/err"; return 1 ;;
    esac
    rm -rf x
  done
}
check "at any limit a run ends well, or with one sentence" one_way_or_the_other

# --- none that grows --------------------------------------------------------------------------------------------------

# Private memory in KiB while 20,000 updates are trained, from update 1000 on and at last.
grows() {
  run_of_20000="$softmax/train --preset tiny --data bytes --out grow --steps 20000 --log-every 1000"
  $run_of_20000 --eval-every 500 --eval-tokens 1000 --attention-every 500 --checkpoint-every 500 > "$temp/out" 2>&1 &
  first= last=
  while now=$(awk '/^RssAnon/ { print $2 }' "/proc/$!/status" 2> /dev/null) && [ -n "$now" ]; do
    last=$now
    [ -n "$first" ] || { grep -q '"event":"step","step":1000,' grow/metrics.jsonl 2> /dev/null && first=$now; }
    sleep 0.1
  done
  wait $! || { cat "$temp/out"; return 1; }
  echo "$first KiB after 1000 updates, $last KiB at last"
  [ "$(grep -c '"event":"step"' grow/metrics.jsonl)" -eq 20000 ] && [ $((last - first)) -le 1024 ]
}
check "20,000 updates of tiny take no more memory than 1,000" grows

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
