// What is to be done and how long it takes, before it is done.
#pragma once

#include <string>
#include <vector>

#include "train/experiments/experiment.h"

// Training alone: floating point operations of a run, and of the evaluations during it.
double run_flops(const RunPlan& run);

// The table of what is to be done: runs, tokens, operations, minutes, memory.
std::string plan_text(const std::vector<Experiment>& experiments, const RunnerOptions& options);
