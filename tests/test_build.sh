#!/bin/sh
# Checks of the build itself: what make, train/system.sh and tests/run.sh promise. Run from the repository's root; prints
# a line "ok ..." or "FAIL ..." for each check, and "N passed, N failed" at the end.
#
# The machines that train/system.sh has to cope with are imitated: a compiler that finds no CLI11, a package manager that
# only writes down what it was asked, a user who is not root.
set -u
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL BUILD CXX MARCH CXXFLAGS NORMALIZER PORTABLE SANITIZE V
. tests/checks.sh

# run COMMAND...: its output, both streams, goes to $temp/output, its exit code to $status
run() {
  "$@" > "$temp/output" 2>&1 < /dev/null
  status=$?
}

# ended_with CODE TEXT [LINES]: the last `run` ended with this code and printed the text (in so many lines)
ended_with() {
  cat "$temp/output"
  echo "(exit code $status)"
  [ "$status" -eq "$1" ] && grep -qF -- "$2" "$temp/output" && [ "$(wc -l < "$temp/output")" -eq "${3:-$(wc -l < "$temp/output")}" ]
}

silent_on() { cat "$temp/output" && ! grep -qF -- "$1" "$temp/output"; }

# --- make -------------------------------------------------------------------------------------------------------------

run make NORMALIZER=sofmax
check "an unknown normalizer is refused in one sentence" \
  ended_with 2 "NORMALIZER=sofmax is unknown: it is one of softmax ssmax " 1

run make PRECISION=fp16
check "an unknown precision is refused in one sentence" ended_with 2 "PRECISION=fp16 is unknown: it is fp32 or bf16" 1

run make SANITIZE=memory
check "an unknown sanitizer is refused in one sentence" ended_with 2 "SANITIZE=memory is unknown: it is 1, for the " 1
run make SANITIZE=thread CXX=g++
check "... and a compiler whose barriers the sanitizer does not know" ended_with 2 "SANITIZE=thread needs CXX=clang++" 1

run make fuzz CXX=clang++-none
check "make fuzz says that it needs clang++" ended_with 2 "make fuzz needs clang++ with libFuzzer, which clang++-none is not"

# Lines "PATH COMMAND" of what a build for normalizer $1 in precision $2 writes.
writes() {
  make -n V=1 BUILD="$temp/build" NORMALIZER="$1" PRECISION="$2" | sed -n 's/.* -o \([^ ]*\) .*/\1 &/p' | sort
}
writes softmax fp32 > "$temp/softmax"
writes ssmax fp32 > "$temp/ssmax"
writes softmax bf16 > "$temp/softmax-bf16"
# different_paths A B FLAG: a path in both lists is what both share, made by the same command, which knows no FLAG.
different_paths() {
  wc -l "$temp/$1" "$temp/$2"
  [ -s "$temp/$1" ] || return 1
  {
    sort -u "$temp/$1" "$temp/$2" | cut -d ' ' -f 1 | uniq -d
    comm -12 "$temp/$1" "$temp/$2" | grep "$3"
  } > "$temp/mixed"
  cat "$temp/mixed"
  [ ! -s "$temp/mixed" ]
}
check "two normalizers never write different things to one path" different_paths softmax ssmax ATTNORM_NORMALIZER
check "nor do two precisions" different_paths softmax softmax-bf16 ATTNORM_PRECISION

folders_differ() {
  for options in "" PORTABLE=1 SANITIZE=1 CXX=clang++ MARCH=x86-64 "PORTABLE=1 SANITIZE=1" "CXX=clang++ SANITIZE=1" \
    "CXX=clang++ SANITIZE=thread" "CXX=clang++ PORTABLE=1" "MARCH=x86-64 SANITIZE=1"; do
    make -n clean $options
  done > "$temp/folders"
  cat "$temp/folders"
  [ "$(sort -u "$temp/folders" | wc -l)" -eq 10 ]
}
check "every combination of options has its own build folder" folders_differ

check "0 switches an option off" [ "$(make -n clean PORTABLE=0 SANITIZE=0)" = "$(make -n clean)" ]

all_normalizers() {
  make -n BUILD="$temp/build" all-normalizers > "$temp/commands" || return 1
  for name in $(sed -n 's/^ *X(\([a-z0-9_]*\),.*/\1/p' kernels/normalizer/normalizer.h); do
    for program in train evaluate sample; do
      grep -q -- "-o $temp/build/$name/$program " "$temp/commands" || { echo "$name/$program"; return 1; }
    done
  done
}
check "all-normalizers builds the three programs for each name in the list" all_normalizers

help_is_complete() {
  make help > "$temp/help" || return 1
  for target in $(sed -n 's/^\.PHONY: //p' Makefile); do
    [ "$target" = FORCE ] || grep -q "^make $target " "$temp/help" || { echo "$target"; return 1; }
  done
}
check "help lists every target" help_is_complete

object=$temp/build/objects/model/config.o
make BUILD="$temp/build" "$object" > /dev/null 2>&1
run make BUILD="$temp/build" "$object"
check "what is built is not built again" silent_on "  $object"
run make BUILD="$temp/build" "$object" CXXFLAGS=-DCHANGED
check "other flags build it again" ended_with 0 "  $object"
run make BUILD="$temp/build" "$object" CXXFLAGS=-DCHANGED -W model/config.h
check "a changed header builds it again" ended_with 0 "  $object"

# --- train/system.sh --------------------------------------------------------------------------------------------------

bin=$temp/bin
mkdir "$bin"
for tool in sh cat sed awk grep tr head cut cksum mkdir mktemp rm mv cmp env as ld; do
  ln -s "$(command -v $tool)" "$bin/$tool"
done
executable() {  # NAME; the program on standard input
  cat > "$bin/$1"
  chmod +x "$bin/$1"
}
user() { echo "echo $1" | executable id; }

# A compiler without CLI11 until the file cli11 exists; LACKS=openmp refuses the flag, LACKS=threads takes it, to no effect.
executable g++ <<END
#!/bin/sh
case "\${LACKS-} \$*" in *openmp*-fopenmp*) exit 1 ;; esac
case "\$*" in *"-x c++ -"*) ;; *) exec $(command -v g++) "\$@" ;; esac
cat > "$temp/source"
grep -q CLI/CLI.hpp "$temp/source" && [ ! -e "$temp/cli11" ] && exit 1
case "\${LACKS-} \$*" in *threads*-fopenmp*) echo "int main() { return 1; }" > "$temp/source" ;; esac
exec $(command -v g++) "\$@" < "$temp/source"
END
executable gnuplot <<END
#!/bin/sh
[ "\${LACKS-}" != gnuplot ] && echo "gnuplot 5.4 patchlevel 4"
END
deps() { run env PATH="$bin" CXX=g++ BUILD="$temp/system" "$@" sh train/system.sh deps; }

user 1000
echo 'touch "$0.asked"; exit 1' | executable apt-get
deps
check "deps without root and terminal shows the command and stops" \
  ended_with 2 "sudo apt-get install --yes --no-install-recommends libcli11-dev"
check "... and installs nothing" [ ! -e "$bin/apt-get.asked" ]
check "... and says what is missing and why it matters" ended_with 2 "  MISSING  CLI11                    options of the"
run env PATH="$bin:$PATH" make BUILD="$temp/system" NORMALIZER=softmax
check "a build without a library is refused in one sentence" ended_with 2 "CLI11: not found" 1

rm "$bin/apt-get"
echo : | executable dnf
deps
check "on Fedora deps shows the command of dnf" ended_with 2 "sudo dnf install cli11-devel"
rm "$bin/dnf"
echo : | executable brew
deps
check "on macOS deps shows the command of brew" ended_with 2 "  brew install cli11"
rm "$bin/brew"
deps
check "without a package manager deps says so" ended_with 2 "No package is known"

user 0
echo 'echo "$*" >> "$0.asked"' | executable apt-get
deps
check "as root deps tries to install, and stops where that did not help" ended_with 2 "Still missing after"
echo "[ \$1 = update ] || : > '$temp/cli11'" | executable apt-get
deps
check "as root deps installs what is missing" ended_with 0 "  found    CLI11"
echo 'touch "$0.asked_again"' | executable apt-get
deps
check "with everything there deps installs nothing" [ "$status" -eq 0 ] && [ ! -e "$bin/apt-get.asked_again" ]

user 1000
rm -r "$temp/system"
deps LACKS=gnuplot
check "without gnuplot deps names the package and goes on" ended_with 0 "gnuplot-nox"
for lacks in openmp threads; do
  rm -r "$temp/system"
  deps LACKS=$lacks
  check "without $lacks deps says loudly that one core is used, and goes on" ended_with 0 "EVERYTHING RUNS ON ONE CORE"
done

# --- train/cuda_architectures.sh --------------------------------------------------------------------------------------

ln -s "$(command -v sort)" "$bin"
# nvidia_smi TEXT [CODE]: from now on the machine has an nvidia-smi that answers so
nvidia_smi() {
  printf '%s\n' "$1" > "$bin/nvidia-smi.answer"
  executable nvidia-smi << END
#!/bin/sh
[ "\$*" = "--query-gpu=compute_cap --format=csv,noheader" ] || exit 1
cat "\$0.answer"
exit ${2-0}
END
}
# detected CODE "ARCHITECTURES" REASON: the script ends with this code, prints these and, to standard error, the reason
detected() {
  env PATH="$bin" sh train/cuda_architectures.sh > "$temp/detected" 2> "$temp/reason" < /dev/null
  status=$?
  cat "$temp/detected" "$temp/reason"
  echo "(exit code $status)"
  [ "$status" -eq "$1" ] && [ "$(cat "$temp/detected")" = "$2" ] && grep -qF -- "$3" "$temp/reason"
}
nobody="no GPU in this machine, so for sm_80, sm_90, sm_100, sm_120"

check "without nvidia-smi kernels are compiled for every architecture" detected 0 "80 90 100 120" "$nobody"
nvidia_smi 8.9
check "with a GPU, for its architecture" detected 0 89 "for the GPU of this machine: sm_89"
nvidia_smi 12.0
check "... also where that has three digits" detected 0 120 "for the GPU of this machine: sm_120"
nvidia_smi "9.0
8.6
9.0"
check "with several, for each architecture once" detected 0 "86 90" "sm_86, sm_90"
nvidia_smi 7.5
check "a GPU that is too old is refused in one sentence" \
  detected 2 "" "a GPU of this machine is of architecture sm_75; the kernels need sm_80 or later"
nvidia_smi "9.0
7.0"
check "... also beside one that is not" detected 2 "" "sm_70; the kernels need sm_80 or later"
nvidia_smi "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. (Error 9)" 9
check "a driver that does not answer is no GPU" detected 0 "80 90 100 120" "$nobody"
nvidia_smi "[N/A]"
check "nor is a GPU that does not know its architecture" detected 0 "80 90 100 120" "$nobody"

# The Makefile asks for exactly that, of a compiler that only writes down what it was asked.
executable nvcc << 'END'
#!/bin/sh
[ "$1" = --version ] && { echo "Cuda compilation tools, release 13.0"; exit; }
echo "$*" >> "$0.asked"
END
nvidia_smi "8.6
8.0"
kernel=$temp/build/cuda/objects/kernels/cuda/gelu.cu.o
run env PATH="$bin:$PATH" make BUILD="$temp/build" NVCC="$bin/nvcc" "$kernel"
check "make cuda compiles for the architectures that were found" \
  grep -q " arch=compute_80,code=sm_80 -gencode arch=compute_86,code=sm_86 -gencode arch=compute_86,code=compute_86 " \
  "$bin/nvcc.asked"
nvidia_smi 7.5
run env PATH="$bin:$PATH" make BUILD="$temp/build" NVCC="$bin/nvcc" "$kernel"
check "make cuda stops at a GPU that is too old" ended_with 2 "sm_75; the kernels need sm_80 or later"
run env PATH="$bin:$PATH" make BUILD="$temp/build" NVCC="$bin/nvcc" CUDA_ARCHITECTURES=100 "$kernel"
check "make cuda compiles for what it is told to" grep -q "arch=compute_100,code=sm_100 " "$bin/nvcc.asked"

# --- tests/run.sh -----------------------------------------------------------------------------------------------------

suite=$temp/suite
mkdir -p "$suite/build/tests" "$suite/tests"
echo 'echo "ok   a"' > "$suite/tests/test_command_line.sh"
# suite_ends CODE LINE: with this test program (standard input), tests/run.sh ends so
suite_ends() {
  cat > "$suite/build/tests/all"
  chmod +x "$suite/build/tests/all"
  run env BUILD=build sh -c 'cd "$1" && sh "$2/tests/run.sh" core' - "$suite" "$PWD"
  ended_with "$1" "$2"
  [ "$status" -eq "$1" ] && [ "$(tail -n 1 "$temp/output")" = "$2" ]
}
check "the runner counts passed test cases" suite_ends 0 "4 passed, 0 failed" <<'END'
echo "All tests passed (9 assertions in 3 test cases)"
END
check "the runner fails with a failed test case" suite_ends 1 "3 passed, 1 failed" <<'END'
printf 'test cases: 3 | 2 passed | 1 failed\nassertions: 9 | 8 passed | 1 failed\n'
exit 1
END
check "the runner fails where the test program dies" suite_ends 1 "1 passed, 1 failed" <<'END'
kill -SEGV $$
END
check "the runner fails where the test program fails after its tests" suite_ends 1 "4 passed, 1 failed" <<'END'
echo "All tests passed (9 assertions in 3 test cases)"
exit 1
END
check "the runner fails where no test ran" suite_ends 1 "1 passed, 1 failed" <<'END'
echo "No tests ran"
END
printf 'echo "ok   a"\necho "FAIL b"\necho "1 passed, 1 failed"\nexit 1\n' > "$suite/tests/test_command_line.sh"
check "the runner adds the checks of a script" suite_ends 1 "4 passed, 1 failed" <<'END'
echo "All tests passed (9 assertions in 3 test cases)"
END

# --- the emulator's stand-ins -----------------------------------------------------------------------------------------

api() { ${CXX:-g++} -std=c++20 -fsyntax-only -Wall -Wextra "-I$1" tests/cuda_emulator/api_check.cpp; }
same_bf16() {
  ${CXX:-g++} -std=c++20 -O2 -fopenmp -I. "-I$cuda/include" tests/cuda_emulator/checks/bf16_check.cpp -o "$temp/bf16" &&
    "$temp/bf16"
}
check "the emulator's headers have the functions and values that they should" api tests/cuda_emulator/include
cuda=${CUDA_HOME:-/usr/local/cuda}
if [ -e "$cuda/include/cuda_runtime.h" ]; then
  check "... which are those of CUDA's own" api "$cuda/include"
  check "bf16 has the bits of cuda_bf16.h" same_bf16
else
  echo "skipped: a comparison with CUDA's own headers, for CUDA is not installed"
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
