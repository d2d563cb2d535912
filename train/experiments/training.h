// One run of an experiment, from its data to its row: trained, evaluated and measured by the programs that users run,
// whose output is in RUN.log.
#pragma once

#include <vector>

#include "train/experiments/experiment.h"

struct Result {
  ResultRow row;
  std::vector<Measurement> measurements;
};

// Prepares data that is not there yet, and first what is mixed into it. Failure where prepare fails.
void prepare_data(const Configuration& configuration, const RunnerOptions& options, const std::string& data);

// Whether its folder is there, and it ended, on the data that is there now, with its last checkpoint.
bool is_trained(const RunPlan& run, const RunnerOptions& options);
// Whether what it starts from is there: nothing, or a checkpoint of a run that is trained; or that run diverged.
bool has_start(const RunPlan& run, const RunnerOptions& options);

// Trains the run, or goes on with it, or takes it as an earlier call left it, and the run that it starts from before;
// then evaluates and measures. Failure where a program fails.
Result result_of(const RunPlan& plan, const std::vector<MeasureSpec>& measures, const RunnerOptions& options);
