# What the scripts that run attnorm's programs share; they include it with `. tests/programs.sh`, after tests/checks.sh.
# $build is the folder of the programs.

# run COMMAND...: its output goes to $temp/out and $temp/err, its exit code to $status
run() {
  command="$*"
  "$@" > "$temp/out" 2> "$temp/err" < /dev/null
  status=$?
}

# ended CODE [TEXT...]: the last `run` ended with this code and printed each text, on either stream
ended() {
  echo "$command"
  cat "$temp/out" "$temp/err"
  echo "(exit code $status)"
  [ "$status" -eq "$1" ] || return 1
  shift
  for text; do
    cat "$temp/out" "$temp/err" | grep -qF -- "$text" || { echo "(not there: $text)"; return 1; }
  done
}

# Every file and folder here, and what is in the small ones: all but tensors.
snapshot() { { find . && find . -type f -size -60 -exec cksum {} +; } | sort; }

one_line() { [ "$(wc -l < "$temp/err")" -eq 1 ] || { echo "(not one line)"; return 1; }; }

unchanged() { snapshot | diff "$temp/before" -; }

# refused NAME TEXTS COMMAND...: exit code 2, one sentence with each of the texts (separated by |), nothing written
refused() {
  name=$1 texts=$2
  shift 2
  snapshot > "$temp/before"
  run "$@"
  check "$name" refusal "$texts"
  rm -rf x
}
refusal() {
  ended 2 && one_line && unchanged || return 1
  echo "$1" | tr '|' '\n' > "$temp/texts"
  while read -r text; do
    grep -qF -- "$text" "$temp/err" || { echo "(not in the sentence: $text)"; return 1; }
  done < "$temp/texts"
}

# train NORMALIZER OUT STEPS OPTION...
train() {
  program=$build/$1/train out=$2 steps=$3
  shift 3
  run "$program" --preset tiny --data data --out "$out" --steps "$steps" "$@"
  [ "$status" -eq 0 ] || check "train --out $out $*" ended 0
}

# What a run has measured, without times: lines of metrics.jsonl.
measured() { grep -E '"event":"(step|eval|attention)"' "$1/metrics.jsonl" | sed 's/,"dt_ms".*//'; }
steps_of() { measured "$1" | grep '"event":"step"'; }
losses_of() { steps_of "$1" | sed 's/.*"loss":\([^,]*\).*/\1/'; }
newest() { ls -d "$1"/checkpoints/step-* | tail -n 1; }

same_tensors() {
  for file in model.safetensors optimizer.safetensors; do
    cmp "$(newest "$1")/$file" "$(newest "$2")/$file" || return 1
  done
}
# same_run A B: the same measurements, losses to the last digit, and the same tensors to the last bit
same_run() {
  measured "$1" > "$temp/a" && measured "$2" > "$temp/b" && [ -s "$temp/a" ] && diff "$temp/a" "$temp/b" &&
    same_tensors "$1" "$2"
}
# same_steps A B: the same, where evaluations may differ
same_steps() {
  steps_of "$1" > "$temp/a" && steps_of "$2" > "$temp/b" && [ -s "$temp/a" ] && diff "$temp/a" "$temp/b" &&
    same_tensors "$1" "$2"
}
differ() { ! same_steps "$1" "$2"; }

# Replaces bytes of a file: patch FILE OFFSET BYTES, as printf writes them.
patch() { printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc 2> /dev/null; }

# Writes text.txt, small sentences that a small model can learn from.
write_text() {
  awk 'BEGIN {
    words = split("the king of a land and his men went up to see what was good in it so they came by night", word, " ")
    for (line = 1; line <= 320; line++) {
      text = "Thus"
      for (i = 0; i < 8; i++) {
        x = (x * 69069 + 12345) % 4294967296
        text = text " " word[1 + int(x / 4294967296 * words)]
      }
      print text "."
    }
  }' > text.txt
}
