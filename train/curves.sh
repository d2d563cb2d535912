#!/bin/sh
# The main job: trains the same model with each normalizer named, from the same weights and on the same batches, and
# compares the loss curves. `make curves` calls it. Called again, it goes on where it was stopped; runs that are done stay as
# they are until their folder is removed.
#
# From the environment: BUILD, CORPUS, CURVES (where the runs and the picture go), PRESET, STEPS (empty: the preset's).
set -eu
# Other steps need another warm-up too: a tenth of them, as in the presets `tiny` and `small`.
steps=${STEPS:+--steps $STEPS --warmup-steps $((STEPS / 10))}
data=data/$CORPUS
[ -e "$data/tokens.json" ] || "$BUILD/prepare" --corpus "$CORPUS" --out "$data"

runs= number=0
for name; do
  number=$((number + 1))
  run=$CURVES/$name
  runs="$runs $run"
  resume=
  [ ! -e "$run/options.ini" ] || resume=--resume
  printf '\n--- %s, %d of %d\n' "$name" "$number" "$#"
  "$BUILD/$name/train" --data "$data" --preset "$PRESET" $steps --out "$run" $resume
done

printf '\n--- the curves\n'
"$BUILD/compare" $runs --out "$CURVES/curves.svg" --terminal
