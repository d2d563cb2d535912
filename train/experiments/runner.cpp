#include "train/experiments/runner.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "data/error.h"
#include "train/console.h"
#include "train/experiments/plan_table.h"
#include "train/experiments/process.h"
#include "train/experiments/training.h"

namespace fs = std::filesystem;

namespace {

// A row, of another experiment or under another name of this one, that is for the same run, if it has every measurement
// that is wanted; what else was measured there stays there.
std::optional<Result> result_elsewhere(const Experiment& experiment, const RunPlan& run, const RunnerOptions& options) {
  const std::string data = data_hash(options, run);
  for (const std::string& name : experiment_names(options.root)) {
    const Records other((fs::path(options.root) / name).string(), options.scale);
    const ResultRow* row = other.find_hash(run.hash(), data);
    if (!row || (row->group == kTuning) != (run.group == kTuning)) continue;
    bool complete = true;
    std::string measures;
    std::set<std::string> wanted;
    for (const MeasureSpec& measure : experiment.measures_of(run)) {
      const std::string taken = row->measure_hash(measure.name);
      complete = complete && (row->diverged() || is_same_measure(taken, measure_hash(options, measure)));
      if (!taken.empty()) measures += (measures.empty() ? "" : " ") + measure.name + "=" + taken;
      wanted.insert(measure.name);
    }
    if (!complete) continue;
    Result result{*row, {}};
    result.row.measures = measures;
    for (Measurement m : other.measurements()) {
      const std::string measure = m.quantity.substr(0, m.quantity.find('.'));
      if (m.run != row->run || (!wanted.count(measure) && !row->measure_hash(measure).empty())) continue;
      m.run = run.name;
      result.measurements.push_back(m);
    }
    result.row.run = run.name, result.row.group = run.group, result.row.variant = run.variant;
    return result;
  }
  return std::nullopt;
}

// What is missing, in the order in which it is wanted: for each group the tuning of its normalizers, then its runs.
std::vector<RunPlan> missing_in_order(const Experiment& experiment) {
  std::vector<const RunPlan*> left = experiment.missing();
  std::vector<RunPlan> result;  // copies: the plan changes while they run
  auto take = [&](const auto& wanted) {
    for (const RunPlan*& run : left)
      if (run && wanted(*run)) result.push_back(*std::exchange(run, nullptr));
  };
  for (const GroupSpec& group : experiment.configuration.groups) {
    take([&](const RunPlan& run) {
      const auto& names = group.normalizers;
      return run.group == kTuning && (run.normalizer == experiment.configuration.baseline ||
                                      std::count(names.begin(), names.end(), run.normalizer) > 0);
    });
    take([&](const RunPlan& run) { return run.group == group.name; });
  }
  take([](const RunPlan&) { return true; });
  return result;
}

// How far an experiment has come since it was started, and how long the rest takes at the speed reached so far.
class ExperimentProgress {
 public:
  void finish(const RunPlan& run) {
    finished_++;
    flops_done_ += run_flops(run);
  }
  // What is left, rates that are open and runs under way included, whose hashes are `busy`: it grows where a grid of
  // rates is extended.
  void look_ahead(const Experiment& experiment, const RunnerOptions& options, const std::set<std::string>& busy) {
    std::vector<const RunPlan*> left = experiment.missing();
    for (const RunPlan& run : experiment.plan.later) left.push_back(&run);
    const std::multimap<std::string, ResultRow> recorded = recorded_rows(options);
    std::erase_if(left, [&](const RunPlan* run) { return is_recorded(*run, experiment, recorded); });
    all_ = finished_ + left.size();
    flops_left_ = 0;
    for (const RunPlan* run : left)
      if (busy.count(run->hash()) || !is_trained(*run, options)) flops_left_ += run_flops(*run);
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

// Does what is missing of an experiment, several runs at a time. The plan is made again after each, so that a job that is
// free goes on with whatever can start: the extension of one grid of rates does not keep the others waiting.
class Runner {
 public:
  Runner(Experiment& experiment, const RunnerOptions& options) : options_(options), experiment_(experiment) {}

  // The first problem of any run.
  void run() {
    plan_again();
    std::vector<std::thread> workers;
    for (int i = 0; i < options_.jobs; i++) workers.emplace_back([this] { work(); });
    for (std::thread& worker : workers) worker.join();
    if (problem_) std::rethrow_exception(problem_);
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    while (!problem_) try {
        if (const std::optional<RunPlan> run = next_run())
          do_run(*run, lock);
        else if (busy_.empty())
          return;
        else
          changed_.wait(lock);  // until another job has finished its run
      } catch (...) {
        if (!problem_) problem_ = std::current_exception();
        changed_.notify_all();
      }
  }

  // Lets go of the lock while it trains and measures.
  void do_run(const RunPlan& run, std::unique_lock<std::mutex>& lock) {
    const std::set<std::string> needed = needed_for(run);
    const std::vector<MeasureSpec> measures = experiment_.measures_of(run);
    busy_.insert(needed.begin(), needed.end());
    std::optional<Result> result;
    std::string failure;
    lock.unlock();
    try {
      result = result_of(run, measures, options_);
    } catch (const std::exception& error) {
      failure = error.what();
    }
    lock.lock();
    for (const std::string& hash : needed) busy_.erase(hash);
    changed_.notify_all();
    if (!result) throw Failure(experiment_.configuration.name + ": " + failure);
    record(run, *result);
  }

  // The next run to train, or nothing. What turns out to be recorded elsewhere is taken over.
  std::optional<RunPlan> next_run() {
    for (;;) {
      stop_if_interrupted();
      const std::optional<RunPlan> run = first_that_can_start();
      if (!run) return std::nullopt;
      const std::optional<Result> known = result_elsewhere(experiment_, *run, options_);
      if (!known) return run;
      experiment_.records.add(known->row, known->measurements);
      plan_again();
    }
  }

  // A run waits for the one that it starts from while another job trains it.
  std::optional<RunPlan> first_that_can_start() const {
    for (const RunPlan& run : missing_in_order(experiment_)) {
      const std::set<std::string> needed = needed_for(run);
      if (std::none_of(needed.begin(), needed.end(), [&](const std::string& hash) { return busy_.count(hash) > 0; }))
        return run;
    }
    return std::nullopt;
  }

  // Hashes of what a run trains: itself, and what it starts from where that is not trained yet.
  std::set<std::string> needed_for(const RunPlan& run) const {
    std::set<std::string> needed{run.hash()};
    for (const RunPlan* each = &run; each->parent; each = each->parent.get()) {
      const std::string hash = each->parent->hash();
      if (!busy_.count(hash) && has_start(*each, options_)) break;
      needed.insert(hash);
    }
    return needed;
  }

  // From what is recorded by now: there may be rates that were open before, and rows that these leave without a run.
  void plan_again() {
    experiment_.update_plan();
    prepare_missing_data();
    if (options_.restart) {
      forget_other_options(experiment_, options_);
      prepare_missing_data();
    }
    require_same_options(experiment_, options_);
  }

  void prepare_missing_data() {
    std::set<std::string> data;
    for (const RunPlan* run : experiment_.missing()) {
      for (const RunPlan* each = run; each; each = each->parent.get()) data.insert(each->data);
      for (const MeasureSpec& measure : experiment_.measures_of(*run))
        if (const auto other = measure.options.find("data"); other != measure.options.end()) data.insert(other->second);
    }
    for (const std::string& each : data) prepare_data(experiment_.configuration, options_, each);
  }

  void record(const RunPlan& run, const Result& result) {
    experiment_.records.add(result.row, result.measurements);
    plan_again();
    progress_.finish(run);
    progress_.look_ahead(experiment_, options_, busy_);
    const std::string loss = result.row.diverged() ? "diverged" : "validation loss " + number_text(result.row.val_loss);
    std::printf("%s  %s  %-40s %s, %.1f min%s\n", experiment_.configuration.name.c_str(), progress_.count().c_str(),
                run.name.c_str(), loss.c_str(), result.row.minutes, progress_.time_left().c_str());
    std::fflush(stdout);
  }

  const RunnerOptions& options_;

  std::mutex mutex_;  // of everything below
  Experiment& experiment_;
  ExperimentProgress progress_;
  std::condition_variable changed_;  // a run has ended
  std::set<std::string> busy_;       // hashes of runs that are being trained
  std::exception_ptr problem_;       // the first
};

}  // namespace

void run_experiment(Experiment& experiment, const RunnerOptions& options) {
  fs::create_directories(options.runs);
  Runner(experiment, options).run();
}
