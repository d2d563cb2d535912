#!/bin/sh
# Checks of build/reproduce: that runs are done once, recorded, resumed and never mixed with other options, and that tables
# follow from what is recorded. Experiments of the preset `tiny` on a text that is made here; then those that are committed.
# Run from the repository's root; prints a line "ok ..." or "FAIL ..." for each check.
set -u
: "${BUILD:=build}"
. tests/checks.sh
here=$PWD
build=$(cd "$BUILD" && pwd)
. tests/programs.sh
mkdir "$temp/work" && cd "$temp/work" || exit 2

i=0
while [ $i -lt 700 ]; do
  printf 'the cat sat on the mat, and the dog sat by the cat %d\n' $((i * 7919 % 1000))
  i=$((i + 1))
done > text.txt

# configuration NAME GROUPS [OPTIONS]: an experiment whose runs have 60 updates
configuration() {
  mkdir -p root/"$1"
  cat > root/"$1"/experiment.json <<END
{
  "title": "$1", "question": "Is it so?", "claims": [
    {"claim": "it is lower", "source": "none", "primary": "ssmax"}, {"claim": "it is softmax", "source": "none"}
  ],
  "options": {
    "preset": "tiny", "position": "rope", "seq-len": 32, "steps": 60, "warmup-steps": 6, "eval-every": 20, "eval-tokens": 500,
    "attention-every": 0, "checkpoint-every": 20 ${3-}
  },
  "data": {"text": {"input": "text.txt"}},
  "tune": {"data": "text", "normalizers": ["softmax", "ssmax"], "grid": [0.0005, 0.001, 0.002, 0.004], "seeds": [101, 101]},
  "groups": [$2]
}
END
}
pair='{"name": "pair", "data": "text", "normalizers": ["softmax", "ssmax"], "seeds": [1, 2], "rates": ["shared", "tuned"],
  "measures": [{"name": "position", "kind": "by-position", "options": {"split": "test", "seq-len": "4T"}},
               {"name": "scale", "kind": "scales"}]}'
starts='{"name": "e", "data": "text", "normalizers": ["ssmax"], "seeds": [1, 1], "rates": ["shared"], "variants": {"e": {}},
  "start": "init-from", "start-group": "pair", "start-normalizer": "softmax", "options": {"steps": 0, "warmup-steps": 0}},
 {"name": "f", "data": "text", "normalizers": ["ssmax"], "seeds": [1, 1], "rates": ["shared"], "variants": {"f": {}},
  "start": "continue-from", "start-group": "pair", "start-normalizer": "softmax", "start-step": 40}'
hot='{"name": "hot", "data": "text", "normalizers": ["softmax"], "seeds": [1, 2], "rates": [30]},
 {"name": "after-hot", "data": "text", "normalizers": ["softmax"], "seeds": [1, 1], "rates": [0.001], "variants": {"after": {}},
  "start": "init-from", "start-group": "hot"}'
configuration first "$pair"
configuration second "$pair, $starts, $hot"
printf 'first\nsecond\n' > root/order.txt
reproduce() { run "$build/reproduce" "$@" --root root --build "$build" --jobs 2; }
rows() { tail -n +2 "root/$1/results.csv"; }
# A row without the minutes it took.
without_minutes() { sort "$1" | cut -d, -f 1-12,14-; }

snapshot > "$temp/before"
reproduce --dry-run
check "the plan comes with tokens, operations, time and memory" ended 0 "million tokens" "petaflop" "memory" "training alone"
check "and nothing is written for it" unchanged
reproduce --restart --dry-run
check "rows are not forgotten in a plan" ended 2 "--restart"

reproduce first
check "an experiment runs to its end" ended 0 "first  1 of"
rows_are_counted() {
  all=$(rows first | wc -l)
  grep '^first  ' "$temp/out" | tail -n 1 | grep "^first  $all of $all .* min; 0:00 left$"
}
check "the last run is the last of all" rows_are_counted
check "which were counted from the start, those at rates that are not known yet too" awk '
  /^first  1 of/ { exit !($4 >= 12) }' "$temp/out"
check "while a grid of rates is extended, the other job goes on with runs at rates that are known" awk '
  /-s1 / { compared = 1 } /-s101 / { late = compared } END { exit !late }' "$temp/out"
for file in results.csv measurements.csv results.md; do
  check "it leaves $file" test -s root/first/$file
done
if command -v gnuplot > /dev/null; then
  check "and its figure" grep -q "</svg>" root/first/pair.svg
fi
best_is_inside() { rows first | grep ",tuning,softmax," | cut -d, -f 6,10 | sort -t, -k 1,1g | awk -F, '
  { loss[NR] = $2; if (NR == 1 || $2 < loss[best]) best = NR }
  END { print "best", best, "of", NR; exit !(NR > 4 && best > 1 && best < NR) }'; }
check "the grid of rates was extended until the best lay inside" best_is_inside
check "a measurement has a row for each piece of the window" test "$(grep -c ',position,' root/first/measurements.csv)" -ge 128
check "the table has the primary comparison" grep -q '`ssmax` (primary)' root/first/results.md
check "each claim has its row" grep -q '^| It is softmax | none | `text-[0-9a-f]*`, 2 seeds, 60 updates | softmax: .* | measured |$' root/first/results.md

cp root/first/results.csv results.before
rm -rf runs
reproduce first
check "what is recorded is not run again, though the runs are gone" ended 0
check "nor is anything trained" test ! -d runs/experiments -o -z "$(ls runs/experiments)"
check "its records are as they were" cmp results.before root/first/results.csv
cp root/first/results.md table.before
run "$build/reproduce" first --root root --report
check "tables come from records alone" ended 0
check "and are the same" cmp table.before root/first/results.md

row=$(rows first | grep '^text-[0-9a-f]*-ssmax-lr' | grep -v tuning | head -n 1 | cut -d, -f 1)
grep -v "^$row," results.before > root/first/results.csv
reproduce first
check "a row that was taken away is run again, alone" ended 0 "1 of 1"
same_rows() { without_minutes results.before > a; without_minutes root/first/results.csv > b; diff a b; }
check "with the same losses to the last digit" same_rows

grep -v "^$row," results.before > root/first/results.csv
(cd runs/experiments/"$row"-* && find . -mindepth 1 -not -name options.ini -delete && : > metrics.jsonl)
reproduce first
check "and so is one that was left before its first record" ended 0 "1 of 1"
check "with the same losses, too" same_rows

grep -v "^$row," results.before > root/first/results.csv
rm -r runs/experiments/"$row"-*/checkpoints/step-00000060
reproduce first
check "and one whose last checkpoint is gone, rather than that the one before is taken for it" ended 0 "1 of 1"
check "with the same losses, again" same_rows

reproduce second
check "another experiment takes over what it shares" ended 0
taken_over() {
  rows first | grep -v tuning | cut -d, -f 1,11 | sort > a
  rows second | grep ',pair,' | cut -d, -f 1,11 | sort > b
  diff a b
}
check "with the same losses" taken_over
bare=$(printf '%s\n' "$pair" | head -n 1 | sed 's/,$/}/')
configuration third "$bare"
printf 'first\nsecond\nthird\n' > root/order.txt
reproduce third
check "one that measures nothing takes the runs over" ended 0
check "and trains none" test "$(rows third | grep -c ',pair,')" -gt 0 -a "$(grep -c '^third  1 of' "$temp/out")" -eq 0
check "with their curves, and without what only the other measured" test \
  "$(grep -c ',val_loss,' root/third/measurements.csv)" -gt 0 -a "$(grep -cE ',(position|scale)' root/third/measurements.csv)" -eq 0
check "nor a sign that it was" test -z "$(rows third | cut -d, -f 17 | xargs)"
rm -r root/third
printf 'first\nsecond\n' > root/order.txt
check "SSMax put in after training is evaluated without an update" grep -q ',e,ssmax,text-[0-9a-f]*,e,.*,0,0,[0-9.]*,[0-9.]*,done,' root/second/results.csv
check "and trained from update 40 on in another run" grep -q ',f,ssmax,text-[0-9a-f]*,f,.*,done,' root/second/results.csv
started=$(rows second | grep ',f,ssmax,' | cut -d, -f 1)
parent=$(rows second | grep ',f,ssmax,' | sed 's/.*continue-from=\([^@]*\)@40:.*/\1/')
cp root/second/results.csv results.before
grep -v "^$started," results.before > root/second/results.csv
rm -r runs/experiments/"$started"-* runs/experiments/"$parent"-*/checkpoints/step-00000040
reproduce second
check "where the checkpoint it starts from is gone, that run is trained again" ended 0 "1 of 1"
same_second() { without_minutes results.before > a; without_minutes root/second/results.csv > b; diff a b; }
check "to the same losses" same_second
check "a run that diverged counts as such" test "$(rows second | grep ',hot,' | grep -c ',diverged,')" -eq 2
check "and so does one that should start from it, untrained" \
  test "$(rows second | grep ',after-hot,' | cut -d, -f 8,9,12)" = 0,0,diverged
check "and stands in the table as a count" grep -q '2 diverged' root/second/results.md

# The row is kept where its options are what is asked for, and never mixed with others.
configuration first "$pair" ', "weight-decay": 0.2'
refused "another option than the recorded one is refused, with both ways out" \
  "-softmax-lr|weight-decay=0.2|git checkout root/first/experiment.json|make reproduce EXPERIMENT=first RESTART=1" \
  "$build/reproduce" first --root root --build "$build"
reproduce first --restart
check "and run again with --restart" ended 0 "first  1 of"
check "which leaves only rows of the new option" test "$(rows first | grep -c 'weight-decay=0.2')" -eq "$(rows first | wc -l)"

# Another grid: which of its rates are planned is known only when the new ones have been run.
sed 's/"grid": \[0.0005, 0.001, /"grid": [0.001, /; s/0.002, 0.004\], "seeds": \[101/0.002, 0.004, 0.008], "seeds": [101/' root/first/experiment.json > root/grid.json
mv root/first/experiment.json root/asked.json && mv root/grid.json root/first/experiment.json
check "the grid is another" test "$(grep -c '"grid": \[0.001, 0.002, 0.004, 0.008\]' root/first/experiment.json)" -eq 1
reproduce first --restart
check "another grid is run with --restart, and its old rates forgotten" ended 0
run "$build/reproduce" first --root root --build "$build" --dry-run
check "so that nothing is left" ended 0 "Nothing is left to train."
check "for which no program is needed" test -z "$("$build/reproduce" first --root root --list-normalizers)"
check "unless rows are to be forgotten" test "$("$build/reproduce" first --root root --list-normalizers --restart | xargs)" = "softmax ssmax"
mv root/asked.json root/first/experiment.json
reproduce first --restart

# The same name, and another text.
data=$(ls -d data/text-*)
hash_before=$(rows first | cut -d, -f 15 | sort -u)
cp -r "$data" kept.data && rm -r "$data"
{ cat text.txt && echo "and one line more"; } > longer.txt
"$build/prepare" --input longer.txt --out "$data" > /dev/null
refused "other data than the recorded" "was recorded on other data|rm -r $data|RESTART=1" "$build/reproduce" first --root root --build "$build"
reproduce first --restart
check "and run again with --restart, whatever the folders of runs hold" ended 0 "first  1 of"
data_hashes() { rows first | cut -d, -f 15 | sort -u; }
check "all of them on it" test "$(data_hashes | wc -l)" -eq 1 -a "$(data_hashes)" != "$hash_before"
rm -r "$data" && mv kept.data "$data"
reproduce first --restart
check "and so they are when the text is what it was" test "$(rows first | cut -d, -f 15 | sort -u)" = "$hash_before"

sed 's/"seq-len": "4T"/"seq-len": "8T"/' root/first/experiment.json > root/changed.json
mv root/first/experiment.json root/asked.json && mv root/changed.json root/first/experiment.json
refused "a measure with other options" "other options of 'position'|RESTART=1" "$build/reproduce" first --root root --build "$build"
sed 's/"seeds": \[1, 2\]/"seeds": [1, 1]/' root/asked.json > root/first/experiment.json
refused "a row that is no longer asked for" "asks for no such run|RESTART=1" "$build/reproduce" first --root root --build "$build"
sed 's/"input": "text.txt"/"input": ["text.txt"]/' root/asked.json > root/first/experiment.json
refused "options of prepare that are none" "texts, numbers and flags" "$build/reproduce" first --root root --build "$build"
mv root/asked.json root/first/experiment.json

# A run is of the data that it starts from, too, and a measure of its own.
printf 'What is this? A text of its own, for %d and %d.\n' $(seq 1 800) > other.txt
chain='{"name": "one", "data": "text", "normalizers": ["softmax"], "seeds": [1, 1], "rates": [0.003]},
 {"name": "two", "data": "other", "normalizers": ["softmax"], "seeds": [1, 1], "rates": [0.003], "start": "init-from",
  "start-group": "one", "measures": [{"name": "seen", "kind": "by-position", "options": {"data": "third", "seq-len": "T"}}]}'
configuration chain "$chain"
sed 's/"tune".*//; s/"data": {"text"/"data": {"third": {"input": "longer.txt"}, "other": {"input": "other.txt"}, "text"/' \
  root/chain/experiment.json > chain.json && mv chain.json root/chain/experiment.json
printf 'first\nsecond\nchain\n' > root/order.txt
reproduce chain
check "a run on other data starts from one" ended 0 "2 of 2"
{ cat text.txt && echo "another line"; } > changed.txt
changed() { mv "$1" kept.data && "$build/prepare" --input changed.txt --out "$1" > /dev/null; }
brought_back() { rm -r "$1" && mv kept.data "$1"; }
measured=$(ls -d data/third-*) begun=$(ls -d data/text-*)
changed "$measured"
refused "other data of a measure" "'seen' on other data than|rm -r $measured|RESTART=1" "$build/reproduce" chain --root root --build "$build"
brought_back "$measured"
changed "$begun"
refused "other data of the run that one starts from" "(and 1 runs more)|RESTART=1" "$build/reproduce" chain --root root --build "$build"
reproduce chain --restart
check "both are trained again" ended 0 "chain  2 of 2"
brought_back "$begun"
reproduce chain --restart
check "and taken as they were where the data is" ended 0 "chain  2 of 2"

# More to measure: what is recorded stays planned as such only where that needs no training.
sed 's/"measures": \[/"measures": [{"name": "more", "kind": "by-position", "options": {"seq-len": "T"}}, /' root/chain/experiment.json > more.json
cp root/chain/experiment.json kept.json && cp more.json root/chain/experiment.json
run "$build/reproduce" chain --root root --build "$build" --dry-run
check "one more measure of a run that is there needs no training" ended 0 "Nothing is left to train."
run "$build/reproduce" chain --root root --build "$build" --dry-run --runs gone
check "and of one that is gone is planned" ended 0 "chain             2         1       0         1"
cp kept.json root/chain/experiment.json
: > root/chain/results.csv
refused "an empty file of records" "results.csv' is empty|run,group" "$build/reproduce" chain --root root --build "$build"
printf 'first\nsecond\n' > root/order.txt

# Interrupted: what is finished is recorded, what is not goes on.
long='{"name": "long", "data": "text", "normalizers": ["softmax"], "seeds": [1, 1], "rates": [0.002]}'
configuration long "$long" ', "steps": 6000'
sed 's/"tune".*//; s/"steps": 60,/"note": 0,/; s/"note": 0,//' root/long/experiment.json > long.json && mv long.json root/long/experiment.json
printf 'first\nsecond\nlong\n' > root/order.txt
"$build/reproduce" long --root root --build "$build" > out.long 2> err.long &
pid=$!
tries=0
until grep -qs '"step":5,' runs/experiments/text-*-softmax-lr0.002-s1-*/metrics.jsonl || [ $tries -gt 600 ]; do
  sleep 0.1
  tries=$((tries + 1))
done
run "$build/reproduce" long --root root --build "$build"
check "meanwhile a second one is refused" ended 2 "runs/experiments' is in use by process $pid"
kill -TERM $pid
wait $pid
status=$?
check "SIGTERM ends it with exit code 1" test $status -eq 1
check "and says how to go on" grep -q "interrupted; the same command goes on" err.long
reproduce long
check "the same command goes on" ended 0 "long  1 of 1"
check "from where the run stood" grep -q '"event":"resume"' runs/experiments/text-*-softmax-lr0.002-s1-*/metrics.jsonl
cp root/long/results.csv interrupted.csv
rm root/long/results.csv root/long/measurements.csv
run "$build/reproduce" long --root root --build "$build" --runs uninterrupted
same_as_uninterrupted() { without_minutes interrupted.csv > a; without_minutes root/long/results.csv > b; diff a b; }
check "and ends as if it had not been interrupted" same_as_uninterrupted

refused "an unknown experiment" "'fist'|first, second and long" "$build/reproduce" fist --root root --build "$build"
cp root/first/experiment.json kept.json
sed 's/"question"/"questoin"/' kept.json > root/first/experiment.json
refused "an unknown key of a configuration" "experiment.json|questoin" "$build/reproduce" first --root root --build "$build"
sed 's/"primary": "ssmax"/"primry": "ssmax"/' kept.json > root/first/experiment.json
refused "an unknown key of a claim" "claims|primry" "$build/reproduce" first --root root --build "$build"
refuses() {  # WHAT SED MESSAGE
  sed "$2" kept.json > root/first/experiment.json
  refused "$1" "$3" "$build/reproduce" first --root root --build "$build"
}
refuses "two groups of one name" 's/"groups": \[\({.*\)/"groups": [{"name": "pair", "data": "text", "normalizers": ["softmax"], "seeds": [1, 1], "rates": [0.1]}, \1/' \
  "two groups named 'pair'"
refuses "a group named tuning" 's/"name": "pair"/"name": "tuning"/' "a group named 'tuning'"
refuses "two measures of one name" 's/"name": "scale"/"name": "position"/' "two measures named 'position'"
refuses "no variants" 's/"seeds": \[1, 2\]/"seeds": [1, 2], "variants": {}/' "variants|an object of at least one name"
refuses "a rate factor of 0" 's/"seeds": \[1, 2\]/"seeds": [1, 2], "rate-factor": 0/' "rate-factor = 0|above 0"
sed 's/"steps": 60/"steps": -1/' kept.json > root/first/experiment.json
refused "an option that train refuses" "steps|-1" "$build/reproduce" first --root root --build "$build"
cp kept.json root/first/experiment.json
echo "a,b" >> root/first/results.csv
refused "a damaged record" "results.csv' line|columns" "$build/reproduce" first --root root --build "$build"
refused "an unknown scale" "huge" "$build/reproduce" second --root root --build "$build" --scale huge

sed 's/"normalizers": \["softmax", "ssmax"\], "grid"/"normalizers": ["softmax"], "grid"/' kept.json > root/first/experiment.json
refused "a tuned rate of a normalizer that is not tuned" "tuned|ssmax" "$build/reproduce" first --root root --build "$build"

# What is committed: tables follow from rows, and the README says what they say.
cd "$here" || exit 2
cp -r train/experiments "$temp/committed"
run "$BUILD/reproduce" --report --root "$temp/committed"
check "the committed experiments are reported" ended 0
run "$BUILD/reproduce" --dry-run --scale large --gflops 1000
check "and planned at GPT-2's size" ended 0 "What is left takes about"
for table in train/experiments/*/results.md; do
  check "$table follows from the records beside it" cmp "$table" "$temp/committed/${table#train/experiments/}"
  sed -n '/^| claim | source /,$p' "$table" | tail -n +3 > "$temp/rows"
  check "and its rows stand in the README" test -s "$temp/rows" -a -z "$(grep -vxF -f README.md "$temp/rows")"
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
