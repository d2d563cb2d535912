#!/bin/sh
# The programs as a user meets them: what they write, which runs are the same bit for bit, and what they refuse. Run
# from the repository's root after `make NORMALIZER='softmax ssmax' all`; prints a line "ok ..." or "FAIL ..." for each
# check, and "N passed, N failed" at the end. All runs are of the preset `tiny`, on a text that is made here.
set -u
unset OMP_NUM_THREADS
export OMP_WAIT_POLICY=passive  # several runs may share a core
build=$(cd "${BUILD:=build}" && pwd) || exit 2
softmax=$build/softmax ssmax=$build/ssmax
. tests/checks.sh
. tests/programs.sh
tests=$PWD/tests
mkdir "$temp/a folder" && cd "$temp/a folder" || exit 2  # every file of a run lies here; what the checks need, in $temp

# --- the main job -----------------------------------------------------------------------------------------------------

write_text
run "$build/prepare" --input text.txt --out data
check "prepare writes token files" ended 0 "data/train.bin" "SHA-256"
check "... all of them" ls data/train.bin data/val.bin data/test.bin data/tokens.json

train softmax base 20 --checkpoint-every 10 --keep 0
check "train names the normalizer, the model, the memory and the next command" ended 0 "normalizer   softmax" \
  "2 layers, 2 heads, 32 channels, vocabulary 256" " parameters + " "next: build/softmax/sample --checkpoint base"
run_is_complete() {
  for file in options.ini metrics.jsonl checkpoints/step-00000010 checkpoints/step-00000020; do
    ls -d "base/$file" || return 1
  done
  ls base/checkpoints/*.tmp && return 1
  for event in start step eval attention checkpoint end; do
    grep -q "^{\"event\":\"$event\",.*}$" base/metrics.jsonl || { echo "no $event"; return 1; }
  done
}
check "a run holds options, metrics and checkpoints" run_is_complete
check "the hashes of a checkpoint are as sha256sum reads them" \
  sh -c 'if command -v sha256sum; then cd base/checkpoints/step-00000020 && sha256sum -c SHA256SUMS; fi'
loss_falls() {
  losses_of base | awk 'NR == 1 { first = $1 } END { print first, $1; exit !(first > 5.3 && first < 5.8 && $1 < 4.5) }'
}
check "the loss starts near ln 256 and falls" loss_falls

final_loss() {
  grep '"event":"eval"' "$1/metrics.jsonl" | tail -n 1 | sed 's/.*"loss":\([^,]*\).*/\1/' | awk '{ printf "%.6f", $1 }'
}
evaluate() {
  program=$build/$1/evaluate
  shift
  run "$program" "$@"
}
evaluate softmax --checkpoint base --data data
check "evaluate finds the loss with which the run ended" ended 0 "$(final_loss base) nats per token" "bits per byte"
evaluate softmax --checkpoint base/checkpoints/step-00000020 --data data/val.bin --batch-size 3 --threads 3
check "... also from a step folder, on one file, with other batches and threads" \
  ended 0 "$(final_loss base) nats per token"
evaluate softmax --checkpoint base --data data --split test --by-position
positions_add_up() {
  ended 0 "position,loss_nats,tokens" || return 1
  awk '/ nats per token/ { loss = $2 } table { split($0, f, ","); rows++; tokens += f[3]; nats += f[2] * f[3] }
       /^position,/ { table = 1 }
       END { d = nats / tokens - loss; print rows, tokens, d; exit !(rows == 32 && d * d < 1e-10) }' "$temp/out"
}
check "evaluate --by-position adds up to the loss" positions_add_up
sed "1,/^\$/d" "$temp/out" > "$temp/table"
echo "an older table" > positions.csv
evaluate softmax --checkpoint base --data data --split test --csv positions.csv
check "evaluate --csv writes the same table to a file, and says where" ended 0 "nats per token" "positions.csv"
check "... in place of what it held" cmp positions.csv "$temp/table"
check "... and leaves nothing beside it" sh -c '! ls | grep "positions.csv." && ! grep position, "$0"' "$temp/out"
evaluate softmax --checkpoint base --data data --split test --csv positions.csv --tokens 70
first_70() {
  ended 0 "70, in windows of 32" && awk -F, 'NR > 1 { tokens += $3 } NR == 2 { first = $3 } NR == 33 { last = $3 }
    END { print tokens, first, last; exit !(tokens == 70 && first == 3 && last == 2) }' positions.csv
}
check "evaluate --tokens predicts the first tokens alone" first_70
evaluate softmax --checkpoint base --data data --tokens 100000000
check "... and of more than there are, all" ended 0 "$(final_loss base) nats per token"

sample() { run "$softmax/sample" --checkpoint base --prompt "the king " --tokens 50 "$@"; }
sample
cp "$temp/out" "$temp/first"
starts_with_prompt() {  # 9 bytes of prompt, 50 tokens, a line break
  ended 0 && [ "$(head -c 9 "$temp/out")" = "the king " ] && [ "$(wc -c < "$temp/out")" -eq 60 ]
}
check "sample prints the prompt and as many tokens as asked" starts_with_prompt
sample --threads 2
check "sample is repeatable" cmp "$temp/out" "$temp/first"
sample --seed 2
check "another seed gives another text" sh -c '! cmp "$0" "$1"' "$temp/out" "$temp/first"
sample --temperature 0
cp "$temp/out" "$temp/first"
sample --top-k 1 --seed 3
check "temperature 0 and top-k 1 are the likeliest text, whatever the seed" cmp "$temp/out" "$temp/first"

train ssmax ssmax 20
run "$build/compare" base ssmax --out curves.svg --csv curves.csv
check "compare prints the table of two runs" ended 0 "$(final_loss base | cut -c 1-4)" "ssmax"
check "... and writes the CSV" grep -q ssmax curves.csv
if command -v gnuplot > /dev/null; then
  check "... and the picture" grep -q "<svg" curves.svg
else
  echo "skipped: the picture of compare, for there is no gnuplot"
fi

run "$softmax/train" --preset tiny --text text.txt --out text --steps 20 --checkpoint-every 10 --keep 0
check "train --text prepares the text by itself" ended 0 "text/data: "
check "... and trains as on prepared data" same_run text base
cp -r text moved && rm -r moved/checkpoints/step-00000020
run "$softmax/train" --out moved --resume
check "... and its run goes on where it is moved" ended 0
check "... to the same bits" same_run text moved

snapshot > "$temp/before"
run "$softmax/train" --preset tiny --data data --out dry --dry-run
check "--dry-run prints the plan" ended 0 " parameters + " "epoch "

device() { env -u OMP_WAIT_POLICY "$@" "$softmax/train" --preset tiny --data data --out dry --dry-run | grep '^device'; }
same_device() { device && [ "$(device)" = "$(device OMP_PROC_BIND=true)" ]; }
check "threads bound by OMP_PROC_BIND are as many" same_device
check "... and writes nothing" unchanged
run "$softmax/train" --preset tiny --text text.txt --out runs/dry --dry-run
check "... nor with --text" sh -c '[ "$0" -eq 0 ] && [ ! -e runs ]' "$status"
train softmax zero 0
only_a_checkpoint() { ls zero/checkpoints/step-00000000 && ! grep -E '"event":"(step|eval)"' zero/metrics.jsonl; }
check "--steps 0 writes a checkpoint and stops" only_a_checkpoint
run "$softmax/train" --config base/options.ini --out repeated
check "--config RUN/options.ini repeats a run" same_run base repeated
run "$softmax/train" --preset tiny --data data --steps 1 --warmup-steps 0
check "without --out the folder is named by preset, normalizer and seed" ls -d runs/tiny-softmax-s1
rm -r runs

for program in "$build/prepare" "$build/compare" "$softmax/train" "$softmax/evaluate" "$softmax/sample"; do
  run "$program" --help
  check "${program##*/} --help" ended 0 --help
  run "$program" --version
  check "${program##*/} --version" ended 0 "${program##*/} of attnorm"
done

# --- identities -------------------------------------------------------------------------------------------------------

train softmax again 20
check "the same seed gives the same bits" same_run base again
train softmax other 20 --seed 2
check "another seed gives others" differ base other
for threads in 1 2 3 7 16; do
  train ssmax "threads-$threads" 20 --threads "$threads"
  check "$threads threads give the same bits" same_run ssmax "threads-$threads"
done
here=$PWD
(cd / && "$softmax/train" --preset tiny --data "$here/data" --out "$here/elsewhere" --steps 20 > /dev/null)
check "another folder gives the same bits" same_run base elsewhere

train softmax rope 20 --position rope
# What the run of each name came to. Programs for x86-64-v3 do so on every machine, from either compiler; a change that is
# meant to change these bits replaces tests/golden/portable_runs.txt by what this prints.
portable_bits() {
  echo "text.txt $(cksum < text.txt)" > "$temp/bits"
  for each in base rope ssmax; do
    sed -n "s/\(.*\)  model.safetensors/$each \1/p" "$(newest "$each")/SHA256SUMS"
  done >> "$temp/bits"
  cat "$temp/bits"
  cmp "$temp/bits" "$tests/golden/portable_runs.txt"
}
if grep -q '"simd":"AVX2+FMA"' base/metrics.jsonl; then
  check "programs for x86-64-v3 give the bits that are kept in tests/golden" portable_bits
fi

cp -r base resumed && rm -r resumed/checkpoints/step-00000020
printf '{"event":"step","step":21,"tok' >> resumed/metrics.jsonl
run "$softmax/train" --out resumed --resume
check "a run whose last checkpoint is lost goes on from the one before" ended 0
check "... to the same bits" same_run base resumed
check "... and says so in the metrics" grep -q '"event":"resume","step":10,' resumed/metrics.jsonl
check "... which hold each update once" [ "$(steps_of resumed | wc -l)" -eq 20 ]

train ssmax straight 20 --schedule constant
train ssmax halves 10 --schedule constant
mkdir elsewhere/deep
(cd elsewhere/deep && "$ssmax/train" --out ../../halves --data ../../data --resume --steps 20 > /dev/null)
check "10 updates and 10 more, from another folder, are the same as 20" same_steps straight halves

# wait_for COMMAND...: until it succeeds, at most a minute
wait_for() {
  for attempt in $(awk 'BEGIN { for (i = 0; i < 300; i++) print i }'); do
    "$@" && return
    sleep 0.2 2> /dev/null || sleep 1
  done
  return 1
}
has_begun() { grep -qs '"event":"step"' stopped/metrics.jsonl; }
has_ended() { ! kill -0 "$process" 2> /dev/null; }

"$softmax/train" --preset tiny --data data --out stopped --steps 1000000 --schedule constant --checkpoint-every 0 \
  --eval-every 0 --attention-every 0 > "$temp/out" 2> "$temp/err" &
process=$! command="train, sent SIGTERM"
wait_for has_begun
kill -TERM "$process"
wait_for has_ended || kill -KILL "$process"
wait "$process"
status=$?
check "a run that is stopped saves what it has" ended 1 "which is saved; go on with: $softmax/train --resume --out stopped"
more=$(($(newest stopped | sed 's/.*step-0*//') + 5))
run "$softmax/train" --out stopped --resume --steps $more
train softmax unstopped $more --schedule constant --checkpoint-every 0 --eval-every 0 --attention-every 0
check "... and goes on to the same bits" same_steps stopped unstopped

mkdir shrinking && cp data/*.bin data/tokens.json shrinking
"$softmax/train" --preset tiny --data shrinking --out starved --steps 1000000 --checkpoint-every 100 --eval-every 0 \
  --attention-every 0 > "$temp/out" 2> "$temp/err" &
process=$! command="train, whose token file is emptied"
has_saved() { grep -qs '"event":"checkpoint"' starved/metrics.jsonl; }
wait_for has_saved
: > shrinking/train.bin
wait_for has_ended || kill -KILL "$process"
wait "$process"
status=$?
check "a token file that becomes shorter ends the run with a sentence" ended 1 "a token file became shorter"
run "$softmax/train" --out starved --resume
check "... and is not trained on" ended 2 "shrinking/train.bin' is empty"

# Sums in another order: 20 updates amplify the rounding of fp32, 6e-8, some hundredfold at most.
train softmax small-batches 20 --batch-size 2 --grad-accum 2
close_losses() {
  losses_of base > "$temp/a" && losses_of small-batches > "$temp/b" || return 1
  paste "$temp/a" "$temp/b" | awk '{ d = ($1 - $2) / $1; if (d < 0) d = -d; if (d > worst) worst = d }
    END { print "relative difference", worst; exit !(NR == 20 && worst < 1e-5) }'
}
check "2 x 2 rows give the losses of 4 x 1 within 1e-5" close_losses

# --- from checkpoint to run -------------------------------------------------------------------------------------------

train ssmax to-ssmax 0 --init-from base
check "--init-from names the scalars that the checkpoint lacks" \
  ended 0 "has no attn.normalizer.scale: it starts as in a new run"
train softmax and-back 0 --init-from to-ssmax/checkpoints/step-00000000
check "... and those that the model lacks" ended 0 "attn.normalizer.scale"
check "to ssmax and back the weights are the same" \
  cmp base/checkpoints/step-00000020/model.safetensors and-back/checkpoints/step-00000000/model.safetensors
train softmax again-from-0 20 --init-from zero
check "--init-from the initial weights gives the same run" same_run base again-from-0
train softmax continued 20 --continue-from base/checkpoints/step-00000010
steps_of base | tail -n 10 > "$temp/a"
steps_of continued > "$temp/b"
check "--continue-from goes on with moments, rate and rows" diff "$temp/a" "$temp/b"
check "... to the same bits" same_tensors base continued
train ssmax switched 20 --continue-from base/checkpoints/step-00000010
check "--continue-from may switch the normalizer" [ "$(steps_of switched | wc -l)" -eq 10 ]
refused "--continue-from a finished run needs more steps" "--steps is 20|20 updates already" \
  "$softmax/train" --preset tiny --data data --out x --steps 20 --continue-from base

snapshot > "$temp/before"
run "$softmax/train" --out base --resume
check "--resume of a finished run says so" ended 0 "has done all of its 20 updates"
check "... and changes nothing" unchanged
cp -r base elsewhere && sed 's/"git":"[^"]*"/"git":"another"/' base/metrics.jsonl > elsewhere/metrics.jsonl
run "$softmax/train" --out elsewhere --resume
check "... and that another program trained it" ended 0 "trained by another"
# A run that was killed before its first checkpoint.
killed_early() { cp -r "$1" "$2" && rm -r "$2/checkpoints" && sed '9,$d' "$1/metrics.jsonl" > "$2/metrics.jsonl"; }
killed_early base early
run "$softmax/train" --out early --resume
check "--resume of a run without checkpoint starts at 0 and says so" ended 0 "no checkpoint yet: starting at update 0"
check "... to the same bits" same_run base early
killed_early to-ssmax early-ssmax
killed_early switched early-switched
run "$ssmax/train" --out early-switched --resume
check "... or at the checkpoint from which the run started" ended 0 "starting at update 10"
check "... to the same bits" same_run switched early-switched
refused "--resume refuses a contradicting option and names both values" "--lr is 0.01|has 0.003" \
  "$softmax/train" --out base --resume --lr 0.01
refused "--resume refuses another normalizer" "trained with softmax|built for ssmax|build/softmax/train" \
  "$ssmax/train" --out base --resume
refused "... also where there is no checkpoint yet" "trained with ssmax|built for softmax" \
  "$softmax/train" --out early-ssmax --resume
cp -r base rounded && sed 's/"precision":"fp32"/"precision":"bf16"/' base/metrics.jsonl > rounded/metrics.jsonl
refused "--resume refuses another precision" "trained with softmax-bf16|built for softmax;|build/softmax-bf16/train" \
  "$softmax/train" --out rounded --resume
refused "--resume needs a run" "--out 'nothing'" "$softmax/train" --out nothing --resume
refused "--resume refuses to do fewer updates than are done" "--steps is 15|20 updates" \
  "$softmax/train" --out base --resume --steps 15
cp -r base other-data && sed 's/^data = .*/data = "data2"/' base/options.ini > other-data/options.ini
sed 's/Thus/Then/' text.txt > text2.txt
run "$build/prepare" --input text2.txt --out data2
refused "--resume refuses other data" "--data" "$softmax/train" --out other-data --resume
rm other-data/options.ini && cp base/options.ini other-data
mv data data1 && mv data2 data
refused "... also where the same folder holds other tokens" "--data 'data' has changed since the run started" \
  "$softmax/train" --out other-data --resume --steps 30
rm -r data && mv data1 data
sed 's/"tokenizer": "bytes"/"tokenizer": "words"/' data/tokens.json > tokens.json && cp -r data other-tokens &&
  mv tokens.json other-tokens
cp -r base other-tokenizer && mv data data1 && mv other-tokens data
refused "... or says that they are made in another way" "its tokenizer is 'words' and was 'bytes'" \
  "$softmax/train" --out other-tokenizer --resume --steps 30
rm -r data && mv data1 data
for program in evaluate sample; do
  option=$([ $program = sample ] || echo --data=data)
  refused "$program refuses another normalizer" "trained with softmax|built for ssmax|build/softmax/$program" \
    "$ssmax/$program" --checkpoint base $option
done
evaluate ssmax --checkpoint ssmax --data data
check "evaluate reads the learned scalars of ssmax" ended 0 "$(final_loss ssmax) nats per token"

evaluate softmax --checkpoint rope --data data
check "evaluate knows RoPE" ended 0 "$(final_loss rope) nats per token"
evaluate softmax --checkpoint rope --data data --seq-len 100 --by-position
check "... and evaluates longer sequences than it was trained on" ended 0 "in windows of 100" "
100,"
cp "$temp/out" "$temp/first"
evaluate softmax --checkpoint rope --data data --seq-len 100 --by-position --rope-theta-scale 4
check "... with another RoPE base" ended 0 "in windows of 100"
check "... which changes the loss" sh -c '! cmp "$0" "$1"' "$temp/out" "$temp/first"

# --- key retrieval ----------------------------------------------------------------------------------------------------

needles() { run "$build/prepare" --needle --length 32 --examples 100 --mix data:0.5 --input text.txt "$@"; }
needles --out needles
check "prepare --needle writes examples and plain rows" ended 0 "100 examples of 32 bytes" "100 rows of data" \
  "6401 tokens" "1281 tokens" "--data needles --seq-len 32"
examples_in() {  # those of 32 bytes that end with a key and a value which stand in them before
  tail -c +1025 needles/train.bin | tr -d '\000' | tr '\n' '|' | fold -w 32 |
    grep -c '\([a-z][a-z][a-z][a-z]=[0-9][0-9][0-9][0-9]\);.*\1$'
}
check "... each of that length" [ "$(examples_in)" -eq 100 ]
needles --out needles
check "... once" ended 0 "already prepared: needles holds these examples" "6401 tokens"
needles --out needles2
check "... and the same again elsewhere" cmp needles/train.bin needles2/train.bin
run "$softmax/train" --preset tiny --data needles --out needle-run --steps 2 --warmup-steps 1
check "train reads them" ended 0 "6,401 training tokens"

find_needles() {
  program=$build/$1/evaluate
  shift
  run "$program" --needle --data data --lengths 32,100 --depths 0,0.5,1 --trials 9 "$@"
}
find_needles softmax --checkpoint rope --csv found.csv --heads-csv heads.csv
check "evaluate --needle says what was found" ended 0 "data/test.bin" "9 of each length and depth" "found.csv" "heads.csv" \
  "32,0.5,0.000000,"
tables() {
  cat found.csv heads.csv
  [ "$(head -n 1 found.csv)" = length,depth,exact,first_digit,top_needle_score ] &&
    [ "$(head -n 1 heads.csv)" = length,depth,layer,head,score ] &&
    [ "$(cut -d , -f 1,2 found.csv | tail -n +2 | tr '\n' ' ')" = "32,0 32,0.5 32,1 100,0 100,0.5 100,1 " ] &&
    [ "$(wc -l < heads.csv)" -eq 25 ] &&
    awk -F, 'FNR > 1 && FNR == NR { found++; top[$1 "," $2] = $5; wrong += NF != 5 || $3 != 0 || $4 > 0.5 || $5 <= 0 || $5 >= 1 }
             FNR > 1 && FNR < NR { wrong += NF != 5 || $5 <= 0 || $5 > top[$1 "," $2] }
             END { print wrong + 0 " lines are wrong"; exit wrong || found != 6 }' found.csv heads.csv
}
check "... in two tables" tables
cp found.csv "$temp/found" && cp heads.csv "$temp/heads"
same_tables() { cmp found.csv "$temp/found" && cmp heads.csv "$temp/heads"; }
for options in "--batch-size 1" "--batch-size 4 --threads 3" "--threads 16"; do
  find_needles softmax --checkpoint rope --csv found.csv --heads-csv heads.csv $options
  check "... which are the same with $options" same_tables
done
find_needles softmax --checkpoint rope
check "... on standard output alone" sh -c 'sed "1,/^\$/d" "$0" | cmp - "$1"' "$temp/out" "$temp/found"
find_needles softmax --checkpoint rope --seed 2 --csv found.csv
check "... and others with another seed" sh -c '! cmp found.csv "$0"' "$temp/found"
find_needles softmax --checkpoint rope --rope-theta-scale 50 --csv found.csv
check "... or another RoPE base" sh -c '! cmp found.csv "$0"' "$temp/found"
refused "evaluate --needle: options given twice" "--lengths is given twice" "$ssmax/evaluate" --needle --checkpoint ssmax \
  --data data --lengths 32 --lengths 32
run "$ssmax/evaluate" --needle --checkpoint ssmax --data data --lengths 32 --trials 3
check "evaluate --needle takes learned scalars, and learned positions up to their length" ended 0 "32,0.25,0.000000"

mkdir llm-bytes && cp data/*.bin llm-bytes && echo '{"vocab_size": 256}' > llm-bytes/tokens.json

unprepared() { refused "prepare --needle: $1" "$2" "$build/prepare" --input text.txt --out x $3; }
unprepared "short examples" "--length is '19'|from 20" "--needle --length 19"
unprepared "no examples" "--examples is '0'" "--needle --examples 0"
unprepared "too many" "--examples 2000000000|--length 256" "--needle --examples 2000000000"
unprepared "too little filler" "the split train of text.txt has|at least 9981" "--needle --length 10000"
unprepared "nothing but plain rows" "--mix is 'data:1'|below 1" "--needle --mix data:1"
unprepared "a negative share" "--mix is 'data:-0.1'" "--needle --mix data:-0.1"
unprepared "no share" "--mix is 'data'|FOLDER:SHARE" "--needle --mix data"
unprepared "no folder" "--mix is ':0.5'" "--needle --mix :0.5"
unprepared "a folder that is not there" "'nowhere'" "--needle --mix nowhere:0.5"
unprepared "a folder without tokens" "'base' has no token file" "--needle --mix base:0.5"
for option in "--length 64" "--examples 5" "--seed 2" "--mix data:0.5"; do
  unprepared "$option without --needle" "${option% *} is given|--needle" "$option"
done
refused "prepare --needle over other examples" "'needles' holds the tokens of|name another folder" \
  "$build/prepare" --needle --length 32 --examples 101 --mix data:0.5 --input text.txt --out needles
refused "prepare over examples" "'needles' holds the tokens of" "$build/prepare" --input text.txt --out needles
refused "prepare --needle over a text" "'data' holds the tokens of" "$build/prepare" --needle --input text.txt --out data

unfound() { refused "evaluate --needle: $1" "$2" "$softmax/evaluate" --needle --checkpoint rope $3; }
unfound "short examples" "--lengths is '32,19'|from 20" "--data data --lengths 32,19"
for list in 32,,64 32, ,32 "[32]" 32x 1e3; do
  unfound "the list $list" "--lengths is '$list'|with commas between" "--data data --lengths $list"
done
unfound "a depth beyond the end" "--depths is '0,1.5'|from 0 to 1" "--data data --depths 0,1.5"
unfound "no trials" "--trials is '0'" "--data data --trials 0"
unfound "too little filler" "test.bin' has|at least 9981" "--data data --lengths 10000"
unfound "filler with needles" "--data 'needles' holds examples" "--data needles"
unfound "tokens of unknown kind" "--data 'llm-bytes' does not hold bytes" "--data llm-bytes"
unfound "one file for two tables" "--heads-csv is 't.csv'|another file" "--data data --csv t.csv --heads-csv t.csv"
unfound "a table where no file can be" "'nowhere/t.csv'" "--data data --lengths 32 --heads-csv nowhere/t.csv"
for option in "--seq-len 32" "--tokens 50" "--by-position"; do
  unfound "$option" "${option% *} is given|--lengths" "--data data $option"
done
for option in "--lengths 32" "--depths 0" "--trials 5" "--seed 2" "--heads-csv t.csv"; do
  refused "evaluate: $option without --needle" "${option% *} is given|--needle" \
    "$softmax/evaluate" --checkpoint rope --data data $option
done
refused "evaluate --needle: longer examples than learned positions" "--lengths has 33|learned positions or scales for 32" \
  "$softmax/evaluate" --needle --checkpoint base --data data --lengths 32,33
refused "evaluate --needle: more memory than any machine has" "--batch-size 100000000 |fits" \
  "$softmax/evaluate" --needle --checkpoint rope --data data --lengths 32 --batch-size 100000000 --trials 100000000

# --- bad input --------------------------------------------------------------------------------------------------------
# `x` is the run that must not come to be.

tiny() { refused "$1" "$2" "$softmax/train" --preset tiny --out x $3; }

tiny "missing data" "'nowhere'" "--data nowhere"
for part in missing empty truncated magic longer; do
  mkdir "$part" && cp data/train.bin data/val.bin "$part"
done
rm missing/train.bin
: > empty/train.bin
head -c 5000 data/train.bin > truncated/train.bin
patch magic/train.bin 0 '\001'
echo >> longer/train.bin
tiny "a missing token file" "missing|train" "--data missing"
for part in empty truncated magic longer; do
  tiny "a token file: $part" "$part/train.bin" "--data $part"
done
mkdir llm && cp data/train.bin data/val.bin llm
tiny "a token at the vocabulary: file and place" "llm/train.bin|token 104 at byte offset 1026|below 100" \
  "--data llm --vocab-size 100"
run "$softmax/train" --preset tiny --data llm --out x --dry-run
check "files without tokens.json have GPT-2's vocabulary, said in the banner" ended 0 "50257"
mkdir one-token && cp data/train.bin one-token && head -c 1026 data/val.bin > one-token/val.bin
patch one-token/val.bin 8 '\001\000\000\000'
tiny "validation data of one token" "one-token/val.bin|two" "--data one-token --vocab-size 256"
tiny "another vocabulary than that of the data" "--vocab-size is 300|256" "--data data --vocab-size 300"
tiny "a sequence longer than the file" "--seq-len 20000|train.bin" "--data data --seq-len 20000"
tiny "a batch larger than the data" "--batch-size 5000" "--data data --batch-size 5000"
tiny "heads that do not divide the channels" "heads (5)|channels (32)" "--data data --heads 5"
tiny "RoPE with an odd head size" "even|give 1" "--data data --heads 32 --position rope"
refused "an unknown preset" "--preset is 'tny'|nearest is tiny" "$softmax/train" --out x --data data --preset tny
tiny "an unknown option" "--batchsize|nearest is --batch-size" "--data data --batchsize 4"
tiny "a value of another type" "--steps is 'many'" "--data data --steps many"
tiny "no data" "--data" ""
tiny "two sources of data" "--data|--text" "--data data --text text.txt"
tiny "a warm-up longer than the run" "--warmup-steps is 9|--steps, which is 9" "--data data --steps 9 --warmup-steps 9"
printf 'stepps = 10\n' > bad.ini
tiny "an unknown key in the file of options" "bad.ini line 1|stepps|nearest is steps" "--data data --config bad.ini"
tiny "a missing file of options" "--config is 'none.ini'" "--data data --config none.ini"
refused "an unknown corpus" "--corpus is 'kjb'|nearest is kjv" "$build/prepare" --corpus kjb --out x
refused "a missing text" "'none.txt'" "$build/prepare" --input none.txt --out x
: > empty.txt
refused "an empty text" "'empty.txt' has 0 bytes" "$build/prepare" --input empty.txt --out x
tiny "a missing --text" "'none.txt'" "--text none.txt"
tiny "an empty --text" "'empty.txt' has 0 bytes" "--text empty.txt"
tiny "--text and heads that do not divide the channels" "heads (5)" "--text text.txt --heads 5"
tiny "--text and a sequence longer than it" "--seq-len 20000" "--text text.txt --seq-len 20000"
tiny "--text and another vocabulary" "--vocab-size is 300|--text 'text.txt'" "--text text.txt --vocab-size 300"
refused "--text and folders above the run's that do not exist yet" "heads (5)" \
  "$softmax/train" --preset tiny --text text.txt --out new/deep/x --heads 5
for out in text.txt text.txt/x; do
  refused "a run folder that cannot be made: $out" "--out '$out'" \
    "$softmax/train" --preset tiny --data data --out "$out"
done
refused "a run folder in use" "--out 'base' holds a run already|--resume" \
  "$softmax/train" --preset tiny --data data --out base
tiny "more memory than any machine has" "--batch-size 100000000 |GiB are free|fits" "--data data --batch-size 100000000"
fitting=$(sed -n 's/.*--batch-size \([0-9]*\) fits.*/\1/p' "$temp/err")
tiny "... and the batch that is named would fit" "sequences of 32 tokens, but" \
  "--data data --batch-size $((${fitting:-0} / 2))"
tiny "more memory than can be counted" "EiB" "--data data --batch-size 2147483647 --seq-len 16777216"
run env OMP_NUM_THREADS=none "$softmax/train" --preset tiny --data data --out x
check "a bad OMP_NUM_THREADS" ended 2 "OMP_NUM_THREADS is 'none'"

tiny "a checkpoint of another shape than asked for" "--channels is 64|has 32" \
  "--data data --init-from base --channels 64"
tiny "longer sequences than the checkpoint's learned positions" "--seq-len is 33|32" \
  "--data data --init-from base --seq-len 33"
tiny "a checkpoint that does not exist" "'none'" "--data data --init-from none"
tiny "two checkpoints to start from" "--init-from|--continue-from" "--data data --init-from base --continue-from base"
run "$softmax/train" --preset tiny --data llm --vocab-size 300 --out big --steps 0
tiny "a checkpoint of another vocabulary than the data" "vocabulary of checkpoint|300|256" "--data data --init-from big"
tiny "... or than bytes" "vocabulary of checkpoint|300|--text" "--text text.txt --init-from big"
refused "sample knows bytes alone" "vocabulary of 300" "$softmax/sample" --checkpoint big
mkdir shape && cp base/checkpoints/step-00000020/model.safetensors shape
sed 's/"n_layer": *2/"n_layer": 3/' base/checkpoints/step-00000020/config.json > shape/config.json
refused "tensors that are not those of config.json" "h.2." "$softmax/evaluate" --checkpoint shape --data data
tiny "... in training" "h.2." "--data data --init-from shape"
cp -r base damaged && patch damaged/checkpoints/step-00000020/model.safetensors 3000 'x'
refused "a damaged checkpoint" "step-00000020/model.safetensors' is damaged" \
  "$softmax/evaluate" --checkpoint damaged/checkpoints/step-00000020 --data data
run "$softmax/evaluate" --checkpoint damaged --data data
check "a run with a damaged checkpoint gives the one before, and says so" ended 0 "is damaged" "step-00000010"

checked() { refused "$1" "$2" "$softmax/evaluate" $3; }
checked "evaluate needs data" "--data" "--checkpoint base"
checked "evaluate: a checkpoint that does not exist" "'none'" "--checkpoint none --data data"
checked "evaluate: missing data" "'none.bin'" "--checkpoint base --data none.bin"
checked "evaluate: an unknown split" "--split is 'valid'|nearest is val" "--checkpoint base --data data --split valid"
checked "evaluate: a split of one file" "--split test" "--checkpoint base --data data/val.bin --split test"
checked "evaluate: longer sequences than learned positions" "--seq-len is 33|32" \
  "--checkpoint base --data data --seq-len 33"
checked "evaluate: longer sequences than the file" "--seq-len is 20000|val.bin" \
  "--checkpoint rope --data data --seq-len 20000"
checked "evaluate: a RoPE base without RoPE" "--rope-theta-scale|learned" \
  "--checkpoint base --data data --rope-theta-scale 2"
checked "evaluate: a table where no file can be" "nowhere/positions.csv" \
  "--checkpoint base --data data --csv nowhere/positions.csv"
checked "evaluate: fewer tokens than none" "--tokens is '-1'" "--checkpoint base --data data --tokens -1"
checked "evaluate: more memory than any machine has" "--batch-size 100000000 |fits" \
  "--checkpoint base --data data --batch-size 100000000"
refused "sample: an empty prompt" "--prompt" "$softmax/sample" --checkpoint base --prompt ""

# --- numbers that are none --------------------------------------------------------------------------------------------

run "$softmax/train" --preset tiny --data data --out blown --lr 1e30 --checkpoint-every 1 --eval-every 0
check "a loss that is not finite stops the run and is named" \
  ended 1 "update 2: the loss is not finite" "layer 0" "tensor h.0."
check "... in one line" one_line
in_metrics() { tail -n 1 blown/metrics.jsonl | grep '"event":"nonfinite","step":2,"what":"loss","tensor":"h.0.'; }
check "... and in the metrics" in_metrics
check "... and earlier checkpoints stay" [ "$(ls blown/checkpoints)" = step-00000001 ]
row_begins=$(sed -n 's/.* is tokens \([0-9]*\) to .* of the training data.*/\1/p' "$temp/err")
text_of_row() {
  tail -c +$((1025 + 2 * row_begins)) data/train.bin | head -c 64 | tr -d '\000\n' > "$temp/row"
  cat "$temp/row"
  [ "$(wc -c < "$temp/row")" -ge 20 ] && tr -d '\n' < text.txt | grep -qF -- "$(cat "$temp/row")"
}
check "... with the text it comes from" text_of_row
command=$(sed -n 's/.* is found by: //p' "$temp/err")
check "... and the command that finds the kernel" \
  [ "$command" = "$softmax/train --resume --out blown --check-from 2" ]
run sh -c "$command"
check "... which names it" ended 1 "output is checked from update 2 on" \
  "update 2: the output of matmul_forward is not finite" "layer 0, tensor h.0.attn.qkv at (0, 0, "
in_metrics() { tail -n 1 blown/metrics.jsonl | grep '"step":2,"what":"output of matmul_forward","tensor":"h.0.attn.qkv"'; }
check "... in the metrics too" in_metrics
run "$softmax/train" --preset tiny --data data --out blown-eval --lr 1e30 --checkpoint-every 1 --eval-every 1
check "so does a validation loss" ended 1 "update 1: the validation loss is not finite"
check "... before the checkpoint" sh -c '[ ! -e blown-eval/checkpoints ]'
run "$softmax/train" --preset tiny --data data --out blown-weights --lr 3e38 --schedule constant --warmup-steps 0
check "so does a weight" ended 1 "update 1: the weight that adamw_update wrote is not finite"
train softmax checked 20 --checkpoint-every 10 --keep 0 --check-from 1
check "a run whose kernels are checked is the same run" same_run base checked
check "... and --check-from is not one of its options" sh -c '! grep check-from checked/options.ini checked/metrics.jsonl'
refused "train: checks from an update that never comes" "--check-from is 21|at most --steps, which is 20" \
  "$softmax/train" --resume --out checked --check-from 21

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
