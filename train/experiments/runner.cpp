#include "train/experiments/runner.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "data/error.h"
#include "train/console.h"
#include "train/experiments/plan_table.h"
#include "train/experiments/process.h"
#include "train/experiments/training.h"

namespace fs = std::filesystem;

namespace {

// A row, of another experiment or under another name of this one, that is for the same run, if it has every measurement
// that is wanted.
std::optional<Result> result_elsewhere(const Experiment& experiment, const RunPlan& run, const RunnerOptions& options) {
  const std::string data = data_hash(options, run.data);
  for (const std::string& name : experiment_names(options.root)) {
    const Records other((fs::path(options.root) / name).string(), options.scale);
    const ResultRow* row = other.find_hash(run.hash(), data);
    if (!row || (row->group == kTuning) != (run.group == kTuning)) continue;
    bool complete = true;
    for (const MeasureSpec& measure : experiment.measures_of(run))
      complete = complete && (row->diverged() || row->measure_hash(measure.name) == measure.hash());
    if (!complete) continue;
    Result result{*row, {}};
    for (const Measurement& m : other.measurements())
      if (m.run == row->run) result.measurements.push_back(m);
    for (Measurement& m : result.measurements) m.run = run.name;
    result.row.run = run.name, result.row.group = run.group, result.row.variant = run.variant;
    return result;
  }
  return std::nullopt;
}

// What can be done next: for the first group that is not complete, the tuning of its normalizers; once their rates are
// known, its runs.
std::vector<RunPlan> next_runs(const Experiment& experiment) {
  const std::vector<const RunPlan*> missing = experiment.missing();
  auto some = [&](const auto& wanted) {
    std::vector<RunPlan> result;  // copies: the plan changes while they run
    for (const RunPlan* run : missing)
      if (wanted(*run)) result.push_back(*run);
    return result;
  };
  for (const GroupSpec& group : experiment.configuration.groups) {
    const std::vector<RunPlan> tuning = some([&](const RunPlan& run) {
      const auto& names = group.normalizers;
      return run.group == kTuning && (run.normalizer == experiment.configuration.baseline ||
                                      std::count(names.begin(), names.end(), run.normalizer) > 0);
    });
    if (!tuning.empty()) return tuning;
    const std::vector<RunPlan> runs = some([&](const RunPlan& run) { return run.group == group.name; });
    if (!runs.empty()) return runs;
  }
  return some([](const RunPlan&) { return true; });
}

// Takes over what is recorded already, and leaves what has to be run.
void take_recorded(Experiment& experiment, const RunnerOptions& options, std::vector<RunPlan>& runs) {
  std::erase_if(runs, [&](const RunPlan& run) {
    const std::optional<Result> known = result_elsewhere(experiment, run, options);
    if (known) experiment.records.add(known->row, known->measurements);
    return known.has_value();
  });
}

// How far an experiment has come since it was started, and how long the rest takes at the speed reached so far.
class ExperimentProgress {
 public:
  // What is left, later batches and rates that are open included: it grows where a grid of rates is extended.
  void look_ahead(const Experiment& experiment, const RunnerOptions& options) {
    std::vector<const RunPlan*> left = experiment.missing();
    for (const RunPlan& run : experiment.plan.later) left.push_back(&run);
    const std::multimap<std::string, ResultRow> recorded = recorded_rows(options);
    std::erase_if(left, [&](const RunPlan* run) { return is_recorded(*run, experiment, recorded); });
    all_ = finished_ + left.size();
    flops_left_ = 0;
    for (const RunPlan* run : left)
      if (!is_trained(*run, options)) flops_left_ += run_flops(*run);
  }
  void finish(const RunPlan& run) {
    finished_++;
    flops_done_ += run_flops(run);
    flops_left_ = std::max(flops_left_ - run_flops(run), 0.0);
  }
  std::string count() const { return std::to_string(finished_) + " of " + std::to_string(all_); }
  // "; 0:40 left", or nothing before the first run that trained.
  std::string time_left() const {
    if (flops_done_ == 0) return "";
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    return "; " + clock_text(seconds / flops_done_ * flops_left_) + " left";
  }

 private:
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  size_t finished_ = 0, all_ = 0;  // runs
  double flops_done_ = 0, flops_left_ = 0;
};

// Some runs of an experiment, several at a time, in their order.
class Batch {
 public:
  Batch(Experiment& experiment, const RunnerOptions& options, std::vector<RunPlan> todo, ExperimentProgress& progress)
      : experiment_(experiment), options_(options), todo_(std::move(todo)), progress_(progress) {}

  // Failure with the first problem of any of them.
  void run() {
    std::vector<std::thread> workers;
    for (int i = 0; i < options_.jobs; i++) workers.emplace_back([this] { work(); });
    for (std::thread& worker : workers) worker.join();
    if (!problem_.empty()) throw Failure(experiment_.configuration.name + ": " + problem_);
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    while (next_ < todo_.size() && problem_.empty()) {
      const RunPlan run = todo_[next_++];
      // A run may be waiting for the one it starts from, and several for the same.
      std::set<std::string> needed;
      for (const RunPlan* each = &run; each && (each == &run || !is_trained(*each, options_));
           each = each->parent.get())
        needed.insert(each->hash());
      auto is_busy = [&](const std::string& hash) { return busy_.count(hash) > 0; };
      free_.wait(lock, [&] { return std::none_of(needed.begin(), needed.end(), is_busy); });
      if (!problem_.empty()) break;
      busy_.insert(needed.begin(), needed.end());
      lock.unlock();
      std::string problem;
      try {
        const Result result = result_of(run, experiment_.measures_of(run), options_);
        lock.lock();
        record(run, result);
      } catch (const std::exception& error) {
        problem = error.what();
      }
      if (!lock.owns_lock()) lock.lock();
      for (const std::string& hash : needed) busy_.erase(hash);
      free_.notify_all();
      if (problem_.empty()) problem_ = problem;
    }
  }

  void record(const RunPlan& run, const Result& result) {
    experiment_.records.add(result.row, result.measurements);
    progress_.finish(run);
    const std::string loss = result.row.diverged() ? "diverged" : "validation loss " + number_text(result.row.val_loss);
    std::printf("%s  %s  %-40s %s, %.1f min%s\n", experiment_.configuration.name.c_str(), progress_.count().c_str(),
                run.name.c_str(), loss.c_str(), result.row.minutes, progress_.time_left().c_str());
    std::fflush(stdout);
  }

  Experiment& experiment_;
  const RunnerOptions& options_;
  const std::vector<RunPlan> todo_;

  std::mutex mutex_;  // of everything below, and of the experiment's records
  ExperimentProgress& progress_;
  std::condition_variable free_;
  size_t next_ = 0;
  std::set<std::string> busy_;  // hashes of runs that are being trained
  std::string problem_;         // the first
};

}  // namespace

void run_experiment(Experiment& experiment, const RunnerOptions& options) {
  fs::create_directories(options.runs);
  ExperimentProgress progress;
  while (!experiment.missing().empty() || !experiment.plan.complete) {
    stop_if_interrupted();
    std::set<std::string> data;
    for (const RunPlan* run : experiment.missing()) {
      for (const RunPlan* each = run; each; each = each->parent.get()) data.insert(each->data);
      for (const MeasureSpec& measure : experiment.measures_of(*run))
        if (const auto other = measure.options.find("data"); other != measure.options.end()) data.insert(other->second);
    }
    for (const std::string& each : data) prepare_data(experiment.configuration, options, each);
    // Here too: of data that was prepared now, and of rates that were open before.
    if (options.restart) forget_other_options(experiment, options);
    require_same_options(experiment, options);
    std::vector<RunPlan> todo = next_runs(experiment);
    take_recorded(experiment, options, todo);
    progress.look_ahead(experiment, options);
    Batch(experiment, options, std::move(todo), progress).run();
    experiment.update_plan();
  }
}
