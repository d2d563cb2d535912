#!/bin/sh
# Runs the tests and ends with the line "N passed, N failed"; the exit code is the verdict. `make test` calls it.
#
#   tests/run.sh test    everything; the kernels for a GPU on the emulator
#   tests/run.sh core    what is tagged [core], and the command lines; nothing for a GPU
#   tests/run.sh cuda    on a GPU: kernels and model, and what only a GPU can show
#
# A check is a test case of the test program, or a line "ok ..." or "FAIL ..." of a script.
set -u
: "${BUILD:=build}"
export BUILD
export OMP_WAIT_POLICY=passive  # threads that wait must not take the cores of other programs
# For builds with sanitizers, SANITIZE=1 or thread. Races are looked for among more threads than there may be cores. The
# first option for that is the one that OpenMP's tool Archer asks for; it would hide what system calls read and what
# memcpy copies, so the file that is included takes it back, and OpenMP's library is left out by races.txt instead.
: "${SANITIZE:=}"
sanitizers=$PWD/tests/sanitizers
export LSAN_OPTIONS="suppressions=$sanitizers/leaks.txt:print_suppressions=0"
export TSAN_OPTIONS="ignore_noninstrumented_modules=1:include=$sanitizers/thread_options.txt"
TSAN_OPTIONS="$TSAN_OPTIONS:suppressions=$sanitizers/races.txt"
[ "$SANITIZE" != thread ] || export OMP_NUM_THREADS=4
log=$BUILD/tests/log
passed=0 failed=0

# Runs a command, shows what it prints and keeps it in $log; its exit code is in $status.
show() {
  echo "--- $*"
  { "$@" 2>&1; echo $? > "$log.status"; } | tee "$log" | sed '/^[0-9]* passed, [0-9]* failed$/d'
  status=$(cat "$log.status")
}

# count PASSED FAILED: a command that failed without naming a failed check, or that checked nothing, is one failure.
count() {
  passed=$((passed + $1)) failed=$((failed + $2))
  if [ "$2" -eq 0 ] && { [ "$status" -ne 0 ] || [ "$1" -eq 0 ]; }; then
    echo "FAIL it ended with exit code $status after $1 checks"
    failed=$((failed + 1))
  fi
}

# "All tests passed (9 assertions in 3 test cases)" or "test cases: 3 | 2 passed | 1 failed" -> PASSED FAILED
catch_summary() {
  awk '/^All tests passed/ { match($0, /in [0-9]+ test case/); passed = substr($0, RSTART + 3) + 0 }
       /^test cases:/ { n = split($0, field, "|")
                        for (i = 2; i <= n; i++) {
                          if (field[i] ~ / (passed|failed as expected)/) passed += field[i]
                          else if (field[i] ~ / failed/) failed += field[i]
                        } }
       END { print passed + 0, failed + 0 }' "$log"
}

# emulated NAME...: test programs, each on one core, so side by side
emulated() {
  for name; do
    { "$BUILD/tests/$name" --durations yes 2>&1; echo $? > "$BUILD/tests/$name.status"; } > "$BUILD/tests/$name.log" &
  done
  wait
  for name; do
    echo "--- $BUILD/tests/$name"
    cat "$BUILD/tests/$name.log"
    cp "$BUILD/tests/$name.log" "$log"
    status=$(cat "$BUILD/tests/$name.status")
    count $(catch_summary)
  done
}

script() {
  show sh "$1"
  count "$(grep -c '^ok ' "$log")" "$(grep -c '^FAIL ' "$log")"
}

# program NAME [OPTION...]: a test program
program() {
  name=$1
  shift
  show "$BUILD/tests/$name" --durations yes "$@"
  count $(catch_summary)
}

# durable [OPTION...]: runs that are killed and disks that fail, which make builds where they can be arranged: on Linux.
# On a disk of memory where there is one: a real one would sync for most of the time.
durable() {
  if [ -e "$BUILD/tests/durable" ]; then
    [ ! -w /dev/shm ] || export TMPDIR=/dev/shm
    program durable "$@"
    unset TMPDIR
  else
    echo "skipped: runs that are killed and disks that fail, which are arranged on Linux alone"
  fi
}

[ "$SANITIZE" != thread ] || script tests/test_races.sh
case ${1-} in
  test)
    program all
    durable ;;
  core)
    if [ "$SANITIZE" = thread ]; then  # without what takes minutes, and threads no other way
      program all '[core]~[hazards]'
      durable '[core][signals],[core][disk]'
    else
      program all '[core]'
      durable '[core]'
    fi ;;
  cuda)
    program cuda-fp32
    program cuda-bf16
    export ON_GPU=1
    script tests/test_cuda_programs.sh
    if command -v compute-sanitizer > /dev/null; then
      script tests/test_cuda.sh
    else
      echo "not run: tests/test_cuda.sh, for compute-sanitizer, which comes with the CUDA toolkit, is not in PATH"
    fi ;;
  *) echo "usage: tests/run.sh test|core|cuda" >&2; exit 2 ;;
esac
[ "$1" = cuda ] || [ ! -e tests/test_command_line.sh ] || script tests/test_command_line.sh
if [ "$1" = test ]; then
  script tests/test_build.sh
  script tests/test_bench.sh
  script tests/test_reproduce.sh
fi
if [ "$1" = test ] && [ -n "$SANITIZE" ]; then
  echo "skipped: the kernels for a GPU, whose emulator takes the sanitizers' place, and memory, of which they take much"
elif [ "$1" = test ] && [ "$(uname -s)" = Linux ]; then
  script tests/test_memory.sh
  emulated emulator
  emulated emulated-fp32 emulated-bf16
  script tests/test_cuda_programs.sh
  script tests/test_bench_cuda.sh
elif [ "$1" = test ]; then
  echo "skipped: the kernels for a GPU, for their emulator runs on Linux alone, and memory"
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
