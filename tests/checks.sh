# What the scripts of checks share; they include it with `. tests/checks.sh` before they change the folder. $temp is a
# folder of their own, removed at the end; a check prints a line "ok ..." or "FAIL ...".
temp=$(mktemp -d) || exit 2
trap 'rm -rf "$temp"' EXIT
passed=0 failed=0

# check NAME COMMAND...: the command succeeds
check() {
  name=$1
  shift
  if "$@" > "$temp/check" 2>&1; then
    echo "ok   $name"
    passed=$((passed + 1))
  else
    echo "FAIL $name"
    sed 's/^/       /' "$temp/check"
    failed=$((failed + 1))
  fi
}
