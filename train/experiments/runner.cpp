#include "train/experiments/runner.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <optional>
#include <set>
#include <sstream>
#include <thread>

#include "data/dataset.h"
#include "data/error.h"
#include "data/sha256.h"
#include "kernels/normalizer/normalizer.h"
#include "model/parameters.h"
#include "train/command_line.h"
#include "train/console.h"
#include "train/experiments/measures.h"
#include "train/experiments/process.h"
#include "train/memory.h"
#include "train/memory_plan.h"
#include "train/metrics_reader.h"
#include "train/options.h"

namespace fs = std::filesystem;

namespace {

constexpr double kUsualGflops = 100;  // of one job, where no recorded run tells

// The options in effect: those of the plan, the preset's and the defaults. Error where train would refuse them.
TrainOptions effective_options(const RunPlan& run) {
  Options options = run.options;
  if (run.lr == 0) options.erase("lr");
  std::vector<std::string> words = with_options({"train", "--data", run.data}, options);
  std::vector<const char*> argv;
  for (const std::string& word : words) argv.push_back(word.c_str());
  return parse_train_options(int(argv.size()), argv.data(), run.normalizer);
}

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

// Of every run that some experiment has recorded.
std::set<std::string> recorded_hashes(const RunnerOptions& options) {
  std::set<std::string> hashes;
  for (const std::string& name : experiment_names(options.root)) {
    const Records records((fs::path(options.root) / name).string(), options.scale);
    for (const ResultRow& row : records.rows()) hashes.insert(row.options_hash);
  }
  return hashes;
}

std::string duration_text(double minutes) {
  char text[40];
  std::snprintf(text, sizeof text, minutes < 100 ? "%.0f min" : "%.1f h", minutes < 100 ? minutes : minutes / 60);
  return text;
}

std::string data_folder(const RunnerOptions& options, const std::string& data) {
  return (fs::path(options.data) / data).string();
}

// Of the hashes of token files by name.
std::string hash_of(const std::map<std::string, std::string>& files) {
  std::string text;
  for (const auto& [file, hash] : files) text += file + " " + hash + "\n";
  return sha256_hex(text).substr(0, 12);
}

// A hash of what a folder of token files holds, "" where there is no such folder yet.
std::string data_hash(const RunnerOptions& options, const std::string& data) {
  const std::string folder = data_folder(options, data);
  if (!fs::exists(fs::path(folder) / "tokens.json")) return "";
  return hash_of(load_dataset(folder, 0).sha256);
}

void prepare_data(const Experiment& experiment, const RunnerOptions& options, const std::string& data) {
  const std::string folder = data_folder(options, data);
  if (fs::exists(fs::path(folder) / "tokens.json")) return;
  Options how{{"corpus", data}};
  if (const auto found = experiment.configuration.data.find(data); found != experiment.configuration.data.end())
    how = found->second;
  if (const auto mix = how.find("mix"); mix != how.end()) {  // made first
    prepare_data(experiment, options, mixed_data(mix->second));
    mix->second = data_folder(options, mix->second);
  }
  fs::create_directories(options.runs);
  const std::string log = (fs::path(options.runs) / (data + ".prepare.log")).string();
  const int exit_code = run_process(with_options({options.build + "/prepare", "--out", folder}, how), log);
  stop_if_interrupted();
  if (exit_code != 0) throw Failure("data '" + data + "' could not be prepared: " + last_line(log));
}

// --- one run ---------------------------------------------------------------------------------------------------------

// The folder of a run: named for people, found by its hash, so that experiments share it.
std::string run_folder(const RunPlan& run, const RunnerOptions& options) {
  const std::string end = "-" + run.hash().substr(0, 8);
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(options.runs, ignored))
    if (entry.is_directory() && entry.path().filename().string().ends_with(end)) return entry.path().string();
  return (fs::path(options.runs) / (run.name + end)).string();
}

[[noreturn]] void fail(const RunPlan& run, const std::string& log, const std::string& program) {
  stop_if_interrupted();
  throw Failure(run.name + ": " + program + " failed: " + last_line(log) + " (its output is in '" + log + "')");
}

bool has_checkpoint(const std::string& folder, int step) {
  if (step == 0) return true;  // of a finished run
  char name[40];
  std::snprintf(name, sizeof name, "step-%08d", step);
  return fs::exists(fs::path(folder) / "checkpoints" / name / "SHA256SUMS");
}

// The run, trained to its end: now, or by an earlier call, or as the parent of another.
Run trained_run(const RunPlan& run, const RunnerOptions& options) {
  const std::string folder = run_folder(run, options), log = folder + ".log";
  auto finished = [&]() -> std::optional<Run> {
    if (!fs::exists(fs::path(folder) / "metrics.jsonl")) return std::nullopt;
    Run record = read_run(folder);
    if (record.state == RunState::kUnfinished) return std::nullopt;
    if (hash_of(record.data_hashes) != data_hash(options, run.data))
      throw Failure("'" + folder + "' was trained on other data than '" + data_folder(options, run.data) +
                    "' holds now; remove it, and it is trained again");
    return record;
  };
  if (std::optional<Run> record = finished()) return *record;

  std::vector<std::string> words{options.build + "/" + run.normalizer + "/train", "--out", folder, "--threads",
                                 std::to_string(options.threads)};
  if (fs::exists(fs::path(folder) / "options.ini")) {
    words.push_back("--resume");
  } else {
    words.insert(words.end(), {"--data", data_folder(options, run.data)});
    words = with_options(words, run.options);
    if (run.parent) {
      trained_run(*run.parent, options);
      std::string from = run_folder(*run.parent, options);
      if (!has_checkpoint(from, run.start_step))
        throw Failure(run.name + " starts from step " + std::to_string(run.start_step) + " of '" + from +
                      "', which is gone; remove that folder, and it is trained again");
      if (run.start_step > 0) {
        char name[40];
        std::snprintf(name, sizeof name, "/checkpoints/step-%08d", run.start_step);
        from += name;
      }
      words.insert(words.end(), {"--" + run.start, from});
    }
  }
  const int exit_code = run_process(words, log);
  std::optional<Run> record = finished();
  if (!record || (exit_code != 0 && record->state != RunState::kNonFinite)) fail(run, log, "train");
  return *record;
}

// The mean loss over the first `tokens` of a split (0: all) by build/<normalizer>/evaluate.
double evaluated_loss(const RunPlan& run, const RunnerOptions& options, const std::string& split, int64_t tokens) {
  const std::string log = run_folder(run, options) + "." + split + ".log";
  fs::remove(log);
  const int exit_code =
      run_process({options.build + "/" + run.normalizer + "/evaluate", "--checkpoint", run_folder(run, options),
                   "--data", data_folder(options, run.data), "--split", split, "--tokens", std::to_string(tokens),
                   "--threads", std::to_string(options.threads)},
                  log);
  if (exit_code != 0) fail(run, log, "evaluate");
  std::ifstream file(log);
  for (std::string line; std::getline(file, line);)
    if (double loss = 0; std::sscanf(line.c_str(), "loss %lf nats", &loss) == 1) return loss;
  throw Failure("'" + log + "' has no line with the loss");
}

// Validation losses as recorded, on the first --eval-tokens, the last one evaluated now; training losses in means over
// the updates since the point before.
std::vector<Measurement> curves_of(const RunPlan& plan, const Run& run, const RunnerOptions& options) {
  std::vector<Measurement> result;
  double sum = 0;
  int64_t count = 0, first_tokens = 0;
  std::size_t next = 0;
  auto training_until = [&](int64_t step) {
    for (; next < run.steps.size() && run.steps[next].step <= step; next++) sum += run.steps[next].loss, count++;
    if (count > 0) result.push_back({plan.name, "train_loss", double(step), 0, sum / double(count)});
    sum = 0, count = 0;
  };
  for (const EvalRecord& eval : run.evals) {
    if (first_tokens == 0) first_tokens = eval.evaluated;
    if (eval.evaluated != first_tokens || eval.step == run.last_step) continue;
    result.push_back({plan.name, "val_loss", double(eval.step), 0, eval.loss});
    training_until(eval.step);
  }
  training_until(run.last_step);
  if (run.state == RunState::kFinished && first_tokens > 0)
    result.push_back(
        {plan.name, "val_loss", double(run.last_step), 0, evaluated_loss(plan, options, "val", first_tokens)});
  return result;
}

struct Result {
  ResultRow row;
  std::vector<Measurement> measurements;
};

Result result_of(const RunPlan& plan, const std::vector<MeasureSpec>& measures, const RunnerOptions& options) {
  const Run run = trained_run(plan, options);
  const TrainOptions effective = effective_options(plan);
  Result result;
  ResultRow& row = result.row;
  row.run = plan.name, row.group = plan.group, row.normalizer = plan.normalizer, row.data = plan.data;
  row.variant = plan.variant, row.lr = plan.lr, row.seed = plan.seed;
  row.steps = run.last_step;
  row.tokens = run.last_step * run.tokens_per_update;
  double seconds = 0;
  for (const StepRecord& step : run.steps) seconds += step.milliseconds / 1e3;
  row.minutes = seconds / 60;
  row.options_hash = plan.hash();
  row.options = plan.options_text();
  row.data_hash = data_hash(options, plan.data);
  if (const auto git = run.settings.find("git"); git != run.settings.end()) row.git = git->second;

  const EvalRecord* last = run.final_evaluation();
  const bool finite = last || plan.steps() == 0;  // without updates there is a checkpoint and no evaluation
  if (finite) row.val_loss = last ? last->loss : evaluated_loss(plan, options, "val", 0);
  const double vocabulary = std::max(effective.vocab_size, 256);
  row.status = row.val_loss <= std::log(vocabulary) / 2 ? "done" : "diverged";
  if (plan.group == kTuning) return result;
  if (finite) row.test_loss = evaluated_loss(plan, options, "test", 0);
  result.measurements = curves_of(plan, run, options);
  if (!finite) return result;
  for (const MeasureSpec& measure : measures) {
    const std::vector<Measurement> more =
        measured(measure, MeasuredRun{plan, run, run_folder(plan, options), data_folder(options, plan.data),
                                      options.build, options.threads});
    const auto is_it = [&](const Measurement& m) { return m.quantity == measure.name; };
    if (std::none_of(more.begin(), more.end(), is_it))
      throw Failure(plan.name + ": nothing was measured for '" + measure.name + "'");
    result.measurements.insert(result.measurements.end(), more.begin(), more.end());
    row.measures += (row.measures.empty() ? "" : " ") + measure.name + "=" + measure.hash();
  }
  return result;
}

// Those of every group that has the run.
std::vector<MeasureSpec> measures_of(const Experiment& experiment, const RunPlan& run) {
  std::vector<MeasureSpec> result;
  for (const GroupSpec& group : experiment.configuration.groups) {
    const auto members = experiment.plan.members.find(group.name);
    if (members == experiment.plan.members.end() || run.group == kTuning) continue;
    if (std::find(members->second.begin(), members->second.end(), run.name) != members->second.end())
      result.insert(result.end(), group.measures.begin(), group.measures.end());
  }
  return result;
}

// A row of another experiment that is for the same run, if it has every measurement that this one wants.
std::optional<Result> result_elsewhere(const Experiment& experiment, const RunPlan& run, const RunnerOptions& options) {
  for (const std::string& name : experiment_names(options.root)) {
    if (name == experiment.configuration.name) continue;
    const Records other((fs::path(options.root) / name).string(), options.scale);
    const ResultRow* row = other.find_hash(run.hash(), data_hash(options, run.data));
    if (!row || (row->group == kTuning) != (run.group == kTuning)) continue;
    bool complete = true;
    for (const MeasureSpec& measure : measures_of(experiment, run))
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

std::string what_differs(const std::string& recorded, const std::string& asked) {
  auto words = [](const std::string& text) {
    std::istringstream stream(text);
    std::set<std::string> result;
    for (std::string word; stream >> word;) result.insert(word);
    return result;
  };
  auto without = [](const std::set<std::string>& some, const std::set<std::string>& others) {
    std::vector<std::string> left;
    for (const std::string& word : some)
      if (!others.count(word)) left.push_back(word);
    return left.empty() ? "nothing more" : list_of(left, " and ");
  };
  const std::set<std::string> a = words(recorded), b = words(asked);
  return "was recorded with " + without(a, b) + ", and experiment.json asks for " + without(b, a);
}

std::vector<const RunPlan*> all_runs(const Experiment& experiment) {
  std::vector<const RunPlan*> result;
  for (const std::vector<RunPlan>* runs : {&experiment.plan.tuning, &experiment.plan.runs})
    for (const RunPlan& run : *runs) result.push_back(&run);
  return result;
}

struct OtherRow {
  const ResultRow* row;
  std::string why;
};
std::vector<OtherRow> rows_of_other_options(const Experiment& experiment, const RunnerOptions& options) {
  std::vector<OtherRow> result;
  std::map<std::string, std::string> hashes;  // by data
  for (const RunPlan* run : all_runs(experiment)) {
    const ResultRow* row = experiment.records.find(run->name);
    if (!row) continue;
    if (!hashes.count(run->data)) hashes[run->data] = data_hash(options, run->data);
    if (row->options_hash != run->hash())
      result.push_back({row, what_differs(row->options, run->options_text())});
    else if (!hashes[run->data].empty() && hashes[run->data] != row->data_hash)
      result.push_back({row, "was recorded on other data than '" + data_folder(options, run->data) + "' holds (" +
                                 row->data_hash + ", not " + hashes[run->data] + ")"});
    else
      for (const MeasureSpec& measure : measures_of(experiment, *run))
        if (const std::string taken = row->measure_hash(measure.name); !taken.empty() && taken != measure.hash()) {
          result.push_back({row, "was measured with other options of '" + measure.name + "'"});
          break;
        }
  }
  // While a rate is open, rows at the rate that it had are not planned, and will be.
  if (!experiment.plan.complete) return result;
  std::set<std::string> planned;
  for (const RunPlan* run : all_runs(experiment)) planned.insert(run->name);
  for (const ResultRow& row : experiment.records.rows())
    if (!planned.count(row.run)) result.push_back({&row, "is recorded, and experiment.json asks for no such run"});
  return result;
}

}  // namespace

std::vector<std::string> normalizers_of(const Experiment& experiment) {
  std::set<std::string> names;
  if (experiment.configuration.tune)
    names.insert(experiment.configuration.tune->normalizers.begin(), experiment.configuration.tune->normalizers.end());
  for (const GroupSpec& group : experiment.configuration.groups) {
    names.insert(group.normalizers.begin(), group.normalizers.end());
    if (!group.start_normalizer.empty()) names.insert(group.start_normalizer);
  }
  return {names.begin(), names.end()};
}

double run_flops(const RunPlan& run) {
  const TrainOptions options = effective_options(run);
  const double each = flops_per_token(config_of(options), options.seq_len);
  const double evaluations = options.eval_every > 0 ? double(options.steps) / options.eval_every : 0;
  return each * (double(tokens_of(options)) + evaluations * double(options.eval_tokens) / 3);
}

Experiment::Experiment(const RunnerOptions& options, const std::string& name)
    : configuration(read_configuration((fs::path(options.root) / name).string(), options.scale)),
      records(configuration.folder, options.scale) {
  update_plan();
  for (const std::vector<RunPlan>* runs : {&plan.tuning, &plan.runs, &plan.later})
    for (const RunPlan& run : *runs) try {
        effective_options(run);
      } catch (const Error& error) {
        throw Error("'" + configuration.folder + "/experiment.json' has a run " + run.name +
                    " that train refuses: " + error.what());
      }
}

void Experiment::update_plan() {
  plan = make_plan(configuration, [&](const RunPlan& run) -> std::optional<double> {
    const ResultRow* row = records.find(run.name);
    if (!row) return std::nullopt;
    return row->diverged() ? HUGE_VAL : row->val_loss;
  });
}

std::vector<const RunPlan*> Experiment::missing() const {
  std::vector<const RunPlan*> result;
  for (const RunPlan* run : all_runs(*this)) {
    const ResultRow* row = records.find(run->name);
    bool complete = row != nullptr;
    if (row && !row->diverged())
      for (const MeasureSpec& measure : measures_of(*this, *run))
        complete = complete && !row->measure_hash(measure.name).empty();
    if (!complete) result.push_back(run);
  }
  return result;
}

void require_same_options(const Experiment& experiment, const RunnerOptions& options) {
  const std::vector<OtherRow> rows = rows_of_other_options(experiment, options);
  if (rows.empty()) return;
  const std::string name = experiment.configuration.name;
  throw Error(name + ": run " + rows[0].row->run + " " + rows[0].why +
              (rows.size() > 1 ? " (and " + std::to_string(rows.size() - 1) + " runs more)" : "") +
              "; keep what is recorded with 'git checkout " + experiment.configuration.folder +
              "/experiment.json', or run them again with 'make reproduce EXPERIMENT=" + name + " RESTART=1'");
}

void forget_other_options(Experiment& experiment, const RunnerOptions& options) {
  std::vector<std::string> names;
  for (const OtherRow& other : rows_of_other_options(experiment, options)) names.push_back(other.row->run);
  if (!names.empty()) experiment.records.remove(names);
  experiment.update_plan();
}

std::string plan_text(const std::vector<Experiment>& experiments, const RunnerOptions& options) {
  std::vector<const Experiment*> pointers;
  for (const Experiment& experiment : experiments) pointers.push_back(&experiment);
  const double gflops = gflops_of_a_job(pointers, options);
  std::set<std::string> counted = recorded_hashes(options);  // a run that several experiments need is trained once
  std::string text =
      "experiment     runs  recorded  shared  to train  million tokens    petaflop        time    memory\n";
  double all_minutes = 0;
  for (const Experiment& experiment : experiments) {
    const std::vector<const RunPlan*> all = all_runs(experiment);
    size_t recorded = 0, shared = 0, left = 0;
    double tokens = 0, flops = 0, memory = 0;
    auto count = [&](const RunPlan& run) {
      if (experiment.records.find(run.name)) {
        recorded++;
        return;
      }
      if (!counted.insert(run.hash()).second) {
        shared++;
        return;
      }
      left++;
      const TrainOptions effective = effective_options(run);
      tokens += double(tokens_of(effective));
      flops += run_flops(run);
      const int threads = std::max(options.threads, 1);
      memory = std::max(memory, double(plan_memory(config_of(effective), kRowWords<named::softmax>,
                                                   effective.batch_size, effective.seq_len, true, threads)
                                           .total()));
    };
    for (const RunPlan* run : all) count(*run);
    for (const RunPlan& run : experiment.plan.later) count(run);
    const double minutes = flops / (gflops * 1e9 * options.jobs) / 60;
    all_minutes += minutes;
    char line[200];
    std::snprintf(line, sizeof line, "%-13s  %4zu  %8zu  %6zu  %8zu  %14.1f  %10.3f  %10s  %8s\n",
                  experiment.configuration.name.c_str(), recorded + shared + left, recorded, shared, left, tokens / 1e6,
                  flops / 1e15, duration_text(minutes).c_str(),
                  memory > 0 ? format_bytes(size_t(memory)).c_str() : "-");
    text += line;
  }
  char line[300];
  std::snprintf(line, sizeof line,
                "What is left takes about %s: training alone, %d run%s at a time, %.0f Gflop/s each%s.\n",
                duration_text(all_minutes).c_str(), options.jobs, options.jobs == 1 ? "" : "s", gflops,
                options.gflops > 0 ? " as --gflops says" : "");
  return text + line;
}

namespace {

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

// Takes from the other experiments what they have recorded already, and leaves what has to be run.
void take_recorded(Experiment& experiment, const RunnerOptions& options, std::vector<RunPlan>& runs) {
  std::erase_if(runs, [&](const RunPlan& run) {
    const std::optional<Result> known = result_elsewhere(experiment, run, options);
    if (known) experiment.records.add(known->row, known->measurements);
    return known.has_value();
  });
}

// Some runs of an experiment, several at a time, in their order.
class Batch {
 public:
  Batch(Experiment& experiment, const RunnerOptions& options, std::vector<RunPlan> todo)
      : experiment_(experiment), options_(options), todo_(std::move(todo)) {
    for (const RunPlan& run : todo_) flops_ += run_flops(run);
  }

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
      std::set<std::string> needed{run.hash()};
      if (run.parent) needed.insert(run.parent->hash());
      auto is_busy = [&](const std::string& hash) { return busy_.count(hash) > 0; };
      free_.wait(lock, [&] { return std::none_of(needed.begin(), needed.end(), is_busy); });
      busy_.insert(needed.begin(), needed.end());
      lock.unlock();
      std::string problem;
      try {
        const Result result = result_of(run, measures_of(experiment_, run), options_);
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
    finished_++;
    flops_done_ += run_flops(run);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    const std::string loss = result.row.diverged() ? "diverged" : "validation loss " + number_text(result.row.val_loss);
    std::printf("%s  %zu of %zu  %-40s %s, %.1f min; %s left\n", experiment_.configuration.name.c_str(), finished_,
                todo_.size(), run.name.c_str(), loss.c_str(), result.row.minutes,
                clock_text(seconds / flops_done_ * (flops_ - flops_done_)).c_str());
    std::fflush(stdout);
  }

  Experiment& experiment_;
  const RunnerOptions& options_;
  const std::vector<RunPlan> todo_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  double flops_ = 0;

  std::mutex mutex_;  // of everything below, and of the experiment's records
  std::condition_variable free_;
  size_t next_ = 0, finished_ = 0;
  double flops_done_ = 0;
  std::set<std::string> busy_;  // hashes of runs that are being trained
  std::string problem_;         // the first
};

}  // namespace

void run_experiment(Experiment& experiment, const RunnerOptions& options) {
  fs::create_directories(options.runs);
  while (!experiment.missing().empty() || !experiment.plan.complete) {
    stop_if_interrupted();
    std::set<std::string> data;
    for (const RunPlan* run : experiment.missing()) {
      data.insert(run->data);
      for (const MeasureSpec& measure : measures_of(experiment, *run))
        if (const auto other = measure.options.find("data"); other != measure.options.end()) data.insert(other->second);
    }
    for (const std::string& each : data) prepare_data(experiment, options, each);
    require_same_options(experiment, options);
    std::vector<RunPlan> todo = next_runs(experiment);
    take_recorded(experiment, options, todo);
    Batch(experiment, options, std::move(todo)).run();
    experiment.update_plan();
  }
}
