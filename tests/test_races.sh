#!/bin/sh
# Whether ThreadSanitizer works here: it finds races that are planted, and takes no barrier for one. tests/run.sh runs
# it before the tests of a build with SANITIZE=thread.
set -u
. tests/checks.sh

planted=$BUILD/tests/planted_race
found() {
  "$planted" "$1" > "$temp/out" 2>&1
  status=$?
  cat "$temp/out"
  [ "$status" -ne 0 ] && grep -q "ThreadSanitizer: data race" "$temp/out" && grep -q planted_race.cpp "$temp/out"
}
ordered() {
  "$planted" none > "$temp/out" 2>&1 && [ "$(cat "$temp/out")" = "202 40400" ] && return
  cat "$temp/out"
  return 1
}

check "a race between the threads of a team is found" found team
check "a race with another thread is found" found thread
check "a race between kernels is found" found kernel
check "a race with what is written to a file is found" found file
check "what barriers, locks and joins order is no race" ordered

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
