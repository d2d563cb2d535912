#!/bin/sh
# The main job: trains the same model with each normalizer named, from the same weights and on the same batches, and
# compares the loss curves. `make curves` calls it. Called again, it goes on where it was stopped.
#
# From the environment: BUILD, CORPUS, CURVES (where the runs and the picture go), PRESET, STEPS (empty: the preset's).
set -eu
data=data/$CORPUS
[ -e "$data/tokens.json" ] || "$BUILD/prepare" --corpus "$CORPUS" --out "$data"

runs= number=0
for name; do
  number=$((number + 1))
  run=$CURVES/$name
  runs="$runs $run"
  resume=
  [ ! -e "$run" ] || resume=--resume
  printf '\n--- %s, %d of %d\n' "$name" "$number" "$#"
  "$BUILD/$name/train" --data "$data" --preset "$PRESET" ${STEPS:+--steps "$STEPS"} --out "$run" $resume
done

for name; do
  printf '\n--- a sample of %s\n' "$name"
  "$BUILD/$name/sample" --checkpoint "$CURVES/$name" --prompt "In the beginning" --tokens 200 --seed 1
done

printf '\n--- the curves\n'
"$BUILD/compare" $runs --out "$CURVES/curves.svg" --terminal
