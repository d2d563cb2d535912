// Does the runs of experiments that have no row yet: trains, evaluates, measures and records, several at a time. Every
// step is one of the programs that users run, so whatever it does can be repeated by hand; their output is in RUN.log.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "train/experiments/plan.h"
#include "train/experiments/records.h"

struct RunnerOptions {
  std::string root = "train/experiments";  // configurations and records
  std::string runs = "runs/experiments";   // folders of runs; they may be removed once their rows are there
  std::string build = "build", data = "data";
  std::string scale = "small";
  int jobs = 1;       // runs at a time
  int threads = 0;    // of each; 0: the program chooses
  double gflops = 0;  // that one job reaches, for times in the plan; 0: what the recorded runs reached
};

// An experiment with what is known of it.
struct Experiment {
  Configuration configuration;
  Records records;
  Plan plan;  // follows from both; see update_plan()

  Experiment(const RunnerOptions& options, const std::string& name);
  void update_plan();
  std::vector<const RunPlan*> missing() const;  // of tuning and runs: no row, or a measurement is not there
};

// Error where a row was recorded with other options, or on other data, than the configuration now asks for: names both and
// the two commands that resolve it.
void require_same_options(const Experiment& experiment, const RunnerOptions& options);
// Forgets the rows that require_same_options() would refuse.
void forget_other_options(Experiment& experiment, const RunnerOptions& options);

// Whose programs it needs.
std::vector<std::string> normalizers_of(const Experiment& experiment);

// Training alone: floating point operations of a run, and of the evaluations during it.
double run_flops(const RunPlan& run);

// The table of what is to be done: runs, tokens, operations, minutes, memory.
std::string plan_text(const std::vector<Experiment>& experiments, const RunnerOptions& options);

// Does what is missing of one experiment, tuning first. Failure where a program fails or where it is interrupted; what is
// finished by then is recorded.
void run_experiment(Experiment& experiment, const RunnerOptions& options);
