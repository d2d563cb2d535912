#include "train/experiments/plan_table.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <set>

#include "kernels/normalizer/normalizer.h"
#include "model/parameters.h"
#include "train/console.h"
#include "train/experiments/training.h"
#include "train/memory.h"
#include "train/memory_plan.h"

namespace fs = std::filesystem;

namespace {

constexpr double kUsualGflops = 100;  // of one job, where no recorded run tells

Config config_of(const TrainOptions& options) {
  Config config;
  config.L = options.layers, config.NH = options.heads, config.C = options.channels, config.T = options.seq_len;
  config.position = position_from_name(options.position);
  config.tied = !options.untied;
  return config;
}

int64_t tokens_of(const TrainOptions& options) {
  return int64_t(options.steps) * options.batch_size * options.seq_len * options.grad_accum;
}

// A run that continues another trains what is left of its updates.
double trained_share(const RunPlan& run, const TrainOptions& options) {
  return run.start == "continue-from" ? 1 - double(run.start_step) / options.steps : 1;
}

// Of one job: what the recorded runs of all experiments reached, their median.
double gflops_of_a_job(const std::vector<const Experiment*>& experiments, const RunnerOptions& options) {
  if (options.gflops > 0) return options.gflops;
  std::vector<double> speeds;
  for (const Experiment* experiment : experiments)
    for (const std::vector<RunPlan>* runs : {&experiment->plan.tuning, &experiment->plan.runs})
      for (const RunPlan& run : *runs)
        if (const ResultRow* row = experiment->records.find(run.name); row && row->minutes > 0)
          speeds.push_back(run_flops(run) / row->minutes / 60e9);
  if (speeds.empty()) return kUsualGflops;
  std::nth_element(speeds.begin(), speeds.begin() + speeds.size() / 2, speeds.end());
  return speeds[speeds.size() / 2];
}

std::string duration_text(double minutes) {
  char text[40];
  std::snprintf(text, sizeof text, minutes < 100 ? "%.0f min" : "%.1f h", minutes < 100 ? minutes : minutes / 60);
  return text;
}

}  // namespace

std::multimap<std::string, ResultRow> recorded_rows(const RunnerOptions& options) {
  std::multimap<std::string, ResultRow> rows;
  for (const std::string& name : experiment_names(options.root)) {
    const Records records((fs::path(options.root) / name).string(), options.scale);
    for (const ResultRow& row : records.rows()) rows.emplace(row.options_hash, row);
  }
  return rows;
}

bool is_recorded(const RunPlan& run, const Experiment& experiment,
                 const std::multimap<std::string, ResultRow>& recorded) {
  const std::vector<MeasureSpec> measures = experiment.measures_of(run);
  const auto [first, last] = recorded.equal_range(run.hash());
  return std::any_of(first, last, [&](const auto& entry) {
    return std::all_of(measures.begin(), measures.end(), [&](const MeasureSpec& measure) {
      return entry.second.diverged() || is_same_measure(entry.second.measure_hash(measure.name), measure.hash());
    });
  });
}

double run_flops(const RunPlan& run) {
  const TrainOptions options = effective_options(run);
  const double each = flops_per_token(config_of(options), options.seq_len);
  const double evaluations = options.eval_every > 0 ? double(options.steps) / options.eval_every : 0;
  return each * trained_share(run, options) *
         (double(tokens_of(options)) + evaluations * double(options.eval_tokens) / 3);
}

std::string plan_text(const std::vector<Experiment>& experiments, const RunnerOptions& options) {
  std::vector<const Experiment*> pointers;
  for (const Experiment& experiment : experiments) pointers.push_back(&experiment);
  const double gflops = gflops_of_a_job(pointers, options);
  const std::multimap<std::string, ResultRow> recorded_anywhere = recorded_rows(options);
  std::set<std::string> counted;  // a run that several experiments need is trained once
  std::string text =
      "experiment     runs  recorded  shared  to train  million tokens    petaflop        time    memory\n";
  double all_minutes = 0;
  size_t all_left = 0;
  for (const Experiment& experiment : experiments) {
    size_t shared = 0, left = 0;
    double tokens = 0, flops = 0, memory = 0;
    auto train = [&](const RunPlan& run) {
      const TrainOptions effective = effective_options(run);
      tokens += trained_share(run, effective) * double(tokens_of(effective));
      flops += run_flops(run);
      const int threads = std::max(options.threads, 1);
      memory = std::max(memory, double(plan_memory(config_of(effective), kRowWords<named::softmax>,
                                                   effective.batch_size, effective.seq_len, true, threads)
                                           .total()));
    };
    auto count = [&](const RunPlan& run) {
      if (!counted.insert(run.hash()).second || is_recorded(run, experiment, recorded_anywhere) ||
          is_trained(run, options)) {
        shared++;
        return;
      }
      left++;
      train(run);
      for (const RunPlan* each = &run; each->parent && !has_start(*each, options); each = each->parent.get())
        if (counted.insert(each->parent->hash()).second) train(*each->parent);
    };
    // One that is recorded without one of the measures is missing too: it is measured once more, and for that trained
    // again unless its folder is still there.
    const std::vector<const RunPlan*> missing = experiment.missing();
    const size_t recorded = experiment.all_runs().size() - missing.size();
    for (const RunPlan* run : missing) count(*run);
    for (const RunPlan& run : experiment.plan.later) count(run);
    const double minutes = flops / (gflops * 1e9 * options.jobs) / 60;
    all_minutes += minutes, all_left += left;
    char line[200];
    std::snprintf(line, sizeof line, "%-13s  %4zu  %8zu  %6zu  %8zu  %14.1f  %10.3f  %10s  %8s\n",
                  experiment.configuration.name.c_str(), recorded + shared + left, recorded, shared, left, tokens / 1e6,
                  flops / 1e15, duration_text(minutes).c_str(),
                  memory > 0 ? format_bytes(size_t(memory)).c_str() : "-");
    text += line;
  }
  if (all_left == 0) return text + "Nothing is left to train.\n";
  char line[300];
  std::snprintf(line, sizeof line,
                "What is left takes about %s: training alone, %d run%s at a time, %.0f Gflop/s each%s.\n",
                duration_text(all_minutes).c_str(), options.jobs, options.jobs == 1 ? "" : "s", gflops,
                options.gflops > 0 ? " as --gflops says" : "");
  return text + line;
}
