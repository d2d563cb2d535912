// Does the runs of an experiment that have no row yet, several at a time.
#pragma once

#include "train/experiments/experiment.h"

// Does what is missing of one experiment, tuning first. Failure where a program fails or where it is interrupted; what
// is finished by then is recorded.
void run_experiment(Experiment& experiment, const RunnerOptions& options);
