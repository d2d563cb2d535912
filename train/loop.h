// A training run, from its options to its last record.
#pragma once

#include "train/options.h"

// Trains as `options` say, with the normalizer this program is compiled for. Everything it leaves lies in options.out:
// options.ini, metrics.jsonl, checkpoints/. Returns the exit code 0; throws Error before anything is written, Failure
// when the run itself fails.
int run_training(const TrainOptions& options);
