// An experiment with what is known of it: its configuration, its records, and the plan that follows from both.
#pragma once

#include <string>
#include <vector>

#include "train/experiments/plan.h"
#include "train/experiments/records.h"
#include "train/options.h"

struct RunnerOptions {
  std::string root = "train/experiments";  // configurations and records
  std::string runs = "runs/experiments";   // folders of runs; they may be removed once their rows are there
  std::string build = "build", data = "data";
  std::string scale = "small";
  int jobs = 1;          // runs at a time
  int threads = 0;       // of each; 0: the program chooses
  bool restart = false;  // what was recorded with other options or on other data gives way
  double gflops = 0;     // that one job reaches, for times in the plan; 0: what the recorded runs reached
};

struct Experiment {
  Configuration configuration;
  Records records;
  Plan plan;          // follows from both; see update_plan()
  std::string scale;  // of RunnerOptions

  Experiment(const RunnerOptions& options, const std::string& name);
  void update_plan();
  std::vector<const RunPlan*> all_runs() const;                    // of tuning, then the others
  std::vector<const RunPlan*> missing() const;                     // no row, or a measurement is not there
  std::vector<MeasureSpec> measures_of(const RunPlan& run) const;  // those of every group that has the run
};

// Error where a row was recorded with other options, or on other data, than the configuration now asks for: names both
// and the two commands that resolve it.
void require_same_options(const Experiment& experiment, const RunnerOptions& options);
// Forgets the rows that require_same_options() would refuse.
void forget_other_options(Experiment& experiment, const RunnerOptions& options);

// Whose programs it needs.
std::vector<std::string> normalizers_of(const Experiment& experiment);

// The options in effect: those of the plan, the preset's and the defaults. Error where train would refuse them.
TrainOptions effective_options(const RunPlan& run);

// Where data is, and a hash of what its token files hold; "" while there is none.
std::string data_folder(const RunnerOptions& options, const std::string& data);
std::string data_hash(const RunnerOptions& options, const std::string& data);
// Of all data that a run is trained on, that of the runs that it starts from included; "" while any is missing.
std::string data_hash(const RunnerOptions& options, const RunPlan& run);
// What a row says of a measure: the hash of its options, and "@" with that of the data where it names some; without
// that while the data is missing.
std::string measure_hash(const RunnerOptions& options, const MeasureSpec& measure);
// Whether a row's word for a measure is that, as far as is known.
bool is_same_measure(const std::string& recorded, const std::string& asked);
