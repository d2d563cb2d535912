// What is to be done and how long it takes, before it is done.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "train/experiments/experiment.h"

// Training alone: floating point operations of a run, and of the evaluations during it.
double run_flops(const RunPlan& run);

// What all experiments have recorded, by hash of the options.
std::multimap<std::string, ResultRow> recorded_rows(const RunnerOptions& options);
// Whether one of those rows is for the run and has every measurement that the experiment wants of it.
bool is_recorded(const RunPlan& run, const Experiment& experiment,
                 const std::multimap<std::string, ResultRow>& recorded);

// The table of what is to be done: runs, tokens, operations, minutes, memory.
std::string plan_text(const std::vector<Experiment>& experiments, const RunnerOptions& options);
