#!/bin/sh
# What can only be checked on a GPU, beside the test programs: NVIDIA's compute-sanitizer on the [core] tests. Run from
# the repository's root; prints a line "ok ..." or "FAIL ..." for each check. `make test-cuda` has tests/run.sh call it.
set -u
: "${BUILD:=build}"
. tests/checks.sh

# kns: kernels whose name contains this, those of the namespace cuda; cuBLAS's are not ours to check.
for precision in fp32 bf16; do
  for tool in memcheck racecheck initcheck synccheck; do
    check "compute-sanitizer's $tool finds nothing in the kernels, in $precision" \
      compute-sanitizer --tool $tool --error-exitcode 1 --kernel-name kns=4cuda "$BUILD/tests/cuda-$precision" '[core]'
  done
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
