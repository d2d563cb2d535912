#!/bin/sh
# Gets the raw text of a corpus: sh data/corpus.sh kjv|gcide|tinyshakespeare FOLDER writes FOLDER/NAME.txt and prints
# nothing; where the text is there already it does nothing. Nothing is installed: Debian packages are downloaded and
# unpacked inside FOLDER. On failure the last line printed is the reason, and the exit code 1.
set -eu
LC_ALL=C
export LC_ALL

fail() {
  echo "$1"
  exit 1
}

download() {
  (cd "$work" && apt-get -qq download "$@") >"$work/log" 2>&1
}

# Downloads packages and unpacks them below $work/root. The lists of packages may be missing or old: as root they are
# brought up to date.
unpack() {
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
    fail "it is taken from a Debian package, and this system has no apt-get and dpkg-deb"
  if ! download "$@" && ! { [ "$(id -u)" = 0 ] && apt-get -qq update >/dev/null 2>&1 && download "$@"; }; then
    fail "apt-get download $* failed ($(grep '^E:' "$work/log" | head -n 1)); 'apt-get update' as root may help"
  fi
  for package in "$work"/*.deb; do
    dpkg-deb -x "$package" "$work/root" || fail "dpkg-deb cannot unpack $package"
  done
}

# Prints all verses, one a line. The program reads bible.data in the folder where it runs.
verses() {
  (cd "$1/usr/lib" && ../bin/bible -f gen1:1-rev22:21) </dev/null 2>/dev/null
}

kjv() {
  if [ -x /usr/bin/bible ] && [ -f /usr/lib/bible.data ]; then
    verses "" >"$work/verses" || fail "/usr/bin/bible does not run"
  else
    unpack bible-kjv bible-kjv-text
    if ! verses "$work/root" >"$work/verses"; then
      # The one library that a small system may lack.
      unpack $(dpkg-deb -f "$work"/bible-kjv_*.deb Depends | tr ',|' '\n\n' | sed -n 's/^ *\(libreadline[^ ]*\).*/\1/p')
      LD_LIBRARY_PATH=$(dirname "$(find "$work/root" -name 'libreadline.so*' | head -n 1)")
      export LD_LIBRARY_PATH
      verses "$work/root" >"$work/verses" || fail "the program bible of the package bible-kjv does not run here"
    fi
  fi
  sed 's/^[^ ]* //' "$work/verses" >"$work/text" # cuts off the labels: "Ge1:1 "
}

gcide() {
  dictionary=/usr/share/dictd/gcide.dict.dz
  if [ ! -f "$dictionary" ]; then
    unpack dict-gcide
    dictionary=$work/root$dictionary
  fi
  gzip -dc <"$dictionary" >"$work/text" || fail "gzip cannot unpack $dictionary"
}

tinyshakespeare() {
  command -v curl >/dev/null || fail "curl, which fetches it, is not installed"
  address=https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt
  curl --fail --silent --show-error --location --max-time 300 --output "$work/text" "$address" 2>"$work/log" ||
    fail "$address could not be read ($(tail -n 1 "$work/log"))"
}

[ $# -eq 2 ] || fail "usage: sh data/corpus.sh kjv|gcide|tinyshakespeare FOLDER"
case $1 in
kjv | gcide | tinyshakespeare) ;;
*) fail "the corpus '$1' is unknown; there are kjv, gcide and tinyshakespeare" ;;
esac
[ ! -f "$2/$1.txt" ] || exit 0
mkdir -p "$2" && work=$(mktemp -d "$2/$1.XXXXXX") || fail "the folder $2 cannot be written"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
work=$(cd "$work" && pwd)
"$1"
[ -s "$work/text" ] || fail "what was found holds no text"
mv "$work/text" "$2/$1.txt"
