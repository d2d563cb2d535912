#!/bin/sh
# What this machine has: the compiler's flags, the libraries, and how to install what is missing. The Makefile runs it.
#
#   train/system.sh check    writes $BUILD/system.mk (variables for the Makefile) and $BUILD/system.txt (the banner);
#                            does nothing where the last answer still holds
#   train/system.sh deps     the same, shows the banner, and installs what is missing: as root on Debian and Ubuntu; else
#                            it shows the command and asks, or without a terminal stops with it (exit 2)
#
# From the environment: CXX, BUILD, MARCH (native, or a name that -march= takes). A library counts as present where the
# compiler can include it (and link it); what the package manager believes is not asked.
set -u
: "${CXX:=g++}" "${BUILD:=build}" "${MARCH:=native}"

describe() {  # why each thing is wanted
  case $1 in
    compiler) echo "C++20, builds everything" ;;
    openmp)   echo "uses all cores" ;;
    cli11)    echo "options of the programs" ;;
    json)     echo "metrics and checkpoints" ;;
    openssl)  echo "checksums of data and checkpoints" ;;
    boost)    echo "intervals in compare" ;;
    catch2)   echo "tests" ;;
    gnuplot)  echo "pictures; without it compare writes the table and CSV alone" ;;
  esac
}

package() {  # manager thing -> name of the package
  case $1:$2 in
    apt:compiler) echo g++ ;;               dnf:compiler) echo gcc-c++ ;;
    apt:cli11)    echo libcli11-dev ;;      dnf:cli11)    echo cli11-devel ;;     brew:cli11)   echo cli11 ;;
    apt:json)     echo nlohmann-json3-dev ;; dnf:json)    echo json-devel ;;      brew:json)    echo nlohmann-json ;;
    apt:openssl)  echo libssl-dev ;;        dnf:openssl)  echo openssl-devel ;;   brew:openssl) echo openssl@3 ;;
    apt:boost)    echo libboost-dev ;;      dnf:boost)    echo boost-devel ;;     brew:boost)   echo boost ;;
    apt:catch2)   echo catch2 ;;            dnf:catch2)   echo catch-devel ;;     brew:catch2)  echo catch2 ;;
    apt:gnuplot)  echo gnuplot-nox ;;       dnf:gnuplot)  echo gnuplot ;;         brew:gnuplot) echo gnuplot ;;
    apt:openmp)   case $CXX in *clang*) echo libomp-dev ;; esac ;;
    dnf:openmp)   case $CXX in *clang*) echo libomp-devel ;; esac ;;              brew:openmp)  echo libomp ;;
  esac
}

# --- checking ---------------------------------------------------------------------------------------------------------

found() { printf '  found    %-24s %s\n' "$2" "$(describe "$1")" >> "$BUILD/system.txt"; }

# lacks THING NAME required|tests|optional [WHY]
lacks() {
  printf '  MISSING  %-24s %s\n' "$2" "${4:-$(describe "$1")}" >> "$BUILD/system.txt"
  missing="$missing $1"
  case $3 in
    required) problem="${problem:+$problem, }$2" ;;
    tests) test_problem=$2 ;;
  esac
}

compiles() {  # flags...; the program on standard input
  $CXX -std=c++20 -x c++ - -o "$scratch/program" $brew_flags "$@" > /dev/null 2>&1
}

# include HEADER VERSION: what the macros in VERSION stand for once HEADER is included; fails where HEADER is not there
include() {
  printf '#include <%s>\nattnorm_version %s\n' "$1" "$2" | $CXX -std=c++20 $brew_flags -E -P -x c++ - 2> /dev/null \
    > "$scratch/included" && sed -n 's/^attnorm_version //p' "$scratch/included" | tr -d ' "' | tr _ .
}

check_compiler() {
  version=$($CXX -dumpfullversion 2> /dev/null || $CXX -dumpversion 2> /dev/null)
  if [ -z "$version" ]; then
    lacks compiler "$CXX" required
  elif ! echo 'template <class T> concept Any = true; int main() { Any auto x = 0; return x; }' | compiles; then
    lacks compiler "$CXX" required "$CXX $version does not know C++20: g++ 10 or clang++ 12 and later do"
  else
    found compiler "$CXX $version"
  fi
}

check_march() {
  for flag in "-march=$MARCH" $([ "$MARCH" != native ] || echo -mcpu=native); do
    if echo 'int main() {}' | compiles $flag; then march_flags=$flag; return; fi
  done
  [ "$MARCH" = native ] || lacks march "-march=$MARCH" required "the compiler does not know this processor"
}

# A compiler that takes the flag may still start one thread only, so the program has to run.
check_openmp() {
  for flags in "-fopenmp|" "-fopenmp=libomp|" \
    "-Xpreprocessor -fopenmp -I/opt/homebrew/opt/libomp/include|-L/opt/homebrew/opt/libomp/lib -lomp" \
    "-Xpreprocessor -fopenmp -I/usr/local/opt/libomp/include|-L/usr/local/opt/libomp/lib -lomp"; do
    if compiles ${flags%|*} ${flags#*|} <<'END' && OMP_DYNAMIC=false OMP_THREAD_LIMIT=2 "$scratch/program"; then
#include <omp.h>
int main() {
  int seen = 0;
#pragma omp parallel num_threads(2)
  {
#pragma omp critical
    seen += omp_get_num_threads();
  }
  return seen == 2 * 2 ? 0 : 1;
}
END
      openmp_flags=${flags%|*} openmp_libs=${flags#*|}
      found openmp "OpenMP ($openmp_flags)"
      return
    fi
  done
  lacks openmp OpenMP optional "EVERYTHING RUNS ON ONE CORE, several times slower: two threads could not be started"
}

check_openssl() {
  if version=$(include openssl/sha.h OPENSSL_VERSION_STR) &&
    printf '#include <openssl/evp.h>\nint main() { return EVP_sha256() == nullptr; }\n' | compiles -lcrypto; then
    case $version in *[!0-9.]*) version= ;; esac
    found openssl "OpenSSL $version"
  else
    lacks openssl OpenSSL required
  fi
}

check_catch2() {
  if version=$(include catch2/catch_all.hpp CATCH_VERSION_MAJOR.CATCH_VERSION_MINOR.CATCH_VERSION_PATCH); then
    catch_libs=-lCatch2
    found catch2 "Catch2 $version"
  elif version=$(include catch2/catch.hpp CATCH_VERSION_MAJOR.CATCH_VERSION_MINOR.CATCH_VERSION_PATCH); then
    found catch2 "Catch2 $version"
  else
    lacks catch2 Catch2 tests
  fi
}

check_header() {  # thing name header version-macros
  if version=$(include "$3" "$4"); then found "$1" "$2 $version"; else lacks "$1" "$2" required; fi
}

check_gnuplot() {
  if version=$(gnuplot --version 2> /dev/null); then
    found gnuplot "$(echo "$version" | sed 's/ patchlevel /./')"
  else
    lacks gnuplot gnuplot optional
  fi
}

# What the answers depend on: asked for and compiled with the same things, the last answer holds unless it lacked something.
key() {
  echo "$CXX, $($CXX --version 2> /dev/null | head -n 1), $MARCH, $(cksum < "$0")"
}

check() {
  mkdir -p "$BUILD" || exit 2
  key=$(key)
  if grep -qF "# $key" "$BUILD/system.mk" 2> /dev/null && grep -q '^MISSING :=$' "$BUILD/system.mk"; then return; fi

  scratch=$(mktemp -d) || exit 2
  trap 'rm -rf "$scratch"' EXIT
  missing= problem= test_problem= march_flags= openmp_flags= openmp_libs= catch_libs= brew_flags=
  for prefix in /opt/homebrew /usr/local; do
    [ -x "$prefix/bin/brew" ] || continue
    brew_flags="$brew_flags -I$prefix/include -I$prefix/opt/openssl@3/include"
    brew_flags="$brew_flags -L$prefix/lib -L$prefix/opt/openssl@3/lib"
  done
  echo "attnorm needs, and this machine has:" > "$BUILD/system.txt"
  check_compiler
  check_march
  check_openmp
  check_header cli11 CLI11 CLI/CLI.hpp CLI11_VERSION_MAJOR.CLI11_VERSION_MINOR.CLI11_VERSION_PATCH
  check_header json nlohmann-json nlohmann/json.hpp \
    NLOHMANN_JSON_VERSION_MAJOR.NLOHMANN_JSON_VERSION_MINOR.NLOHMANN_JSON_VERSION_PATCH
  check_openssl
  check_header boost Boost.Math boost/math/distributions/students_t.hpp BOOST_LIB_VERSION
  check_catch2
  check_gnuplot
  {
    echo "# $key"
    echo "MARCH_FLAGS := $march_flags"
    echo "OPENMP_FLAGS := ${openmp_flags:--Wno-unknown-pragmas}"
    echo "OPENMP_LIBS := $openmp_libs"
    echo "SEARCH_FLAGS :=$brew_flags"
    echo "CATCH_LIBS := $catch_libs"
    echo "MISSING :=$missing"
    echo "PROBLEM := ${problem:+$problem: not found or too old; \"make deps\" says more and installs what it can}"
    echo "TEST_PROBLEM := ${test_problem:+$test_problem: not found; \"make deps\" installs it}"
  } > "$scratch/system.mk"
  cmp -s "$scratch/system.mk" "$BUILD/system.mk" || mv "$scratch/system.mk" "$BUILD/system.mk"
}

# --- installing -------------------------------------------------------------------------------------------------------

# install_command MANAGER THING...: the command that installs the things, empty where no package has them
install_command() {
  manager=$1
  shift
  packages=
  for thing; do packages="$packages $(package "$manager" "$thing")"; done
  packages=$(echo $packages)
  [ -n "$packages" ] || return
  case $manager in
    apt) echo "apt-get install --yes --no-install-recommends $packages" ;;
    dnf) echo "dnf install $packages" ;;
    brew) echo "brew install $packages" ;;
  esac
}

value() { sed -n "s/^$1 :=//p" "$BUILD/system.mk"; }

# Stops where the programs or the tests cannot be built; what is merely useful may stay missing.
finish() {
  [ -z "$(value PROBLEM | tr -d ' ')$(value TEST_PROBLEM | tr -d ' ')" ] && exit 0
  echo "$1" >&2
  exit 2
}

deps() {
  check
  cat "$BUILD/system.txt"
  things=$(value MISSING)
  [ -n "$things" ] || exit 0
  for manager in apt:apt-get dnf:dnf brew:brew none:; do
    command -v "${manager#*:}" > /dev/null 2>&1 && break
  done
  manager=${manager%:*}
  command=$(install_command "$manager" $things)
  [ -n "$command" ] || finish "No package is known for what is missing above: install it by hand and run make deps again."

  [ "$manager" = brew ] || [ "$(id -u)" = 0 ] || command="sudo $command"
  if [ "$manager" = apt ] && [ "$(id -u)" = 0 ]; then
    echo "Installing it: $command"
    apt-get update -qq || echo "The list of packages could not be brought up to date: using the one at hand." >&2
  elif [ "$manager" = apt ] && [ -t 0 ] && command -v sudo > /dev/null 2>&1; then
    printf 'Install it with this command?\n  %s\n[y/N] ' "$command"
    read -r answer
    case $answer in [yY]*) ;; *) finish "Not installed. Run the command above, then make deps again." ;; esac
  else
    echo "Install it with this command:"
    echo "  $command"
    finish "Run the command above, then make deps again."
  fi
  DEBIAN_FRONTEND=noninteractive $command || finish "The command failed: $command"
  check
  cat "$BUILD/system.txt"
  finish "Still missing after the installation: see above."
}

case ${1-} in
  check) check ;;
  deps) deps ;;
  *) echo "usage: train/system.sh check|deps" >&2; exit 2 ;;
esac
