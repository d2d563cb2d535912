#include "train/experiments/training.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>

#include "data/error.h"
#include "data/sha256.h"
#include "train/checkpoint.h"
#include "train/experiments/measures.h"
#include "train/experiments/process.h"
#include "train/metrics_reader.h"

namespace fs = std::filesystem;

void prepare_data(const Configuration& configuration, const RunnerOptions& options, const std::string& data) {
  const std::string folder = data_folder(options, data);
  if (fs::exists(fs::path(folder) / "tokens.json")) return;
  Options how{{"corpus", data}};
  if (const auto found = configuration.data.find(data); found != configuration.data.end()) how = found->second;
  if (const auto mix = how.find("mix"); mix != how.end()) {  // made first
    prepare_data(configuration, options, mixed_data(mix->second));
    mix->second = data_folder(options, mix->second);
  }
  fs::create_directories(options.runs);
  const std::string log = (fs::path(options.runs) / (data + ".prepare.log")).string();
  const std::string partial = folder + ".partial";  // so that what is there is complete, whatever ends this
  fs::remove_all(partial);
  const int exit_code = run_process(with_options({options.build + "/prepare", "--out", partial}, how), log);
  stop_if_interrupted();
  if (exit_code != 0) throw Failure("data '" + data + "' could not be prepared: " + last_line(log));
  std::error_code problem;
  fs::rename(partial, folder, problem);
  if (problem) throw Failure("'" + partial + "' cannot become '" + folder + "': " + problem.message());
}

namespace {

// The folder of a run: named for people, found by hashes of its options and of its data, so that experiments share it and
// nothing that was trained on other data is taken for it.
std::string run_folder(const RunPlan& run, const RunnerOptions& options) {
  const std::string end = "-" + sha256_hex(run.hash() + " " + data_hash(options, run)).substr(0, 8);
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(options.runs, ignored))
    if (entry.is_directory() && entry.path().filename().string().ends_with(end)) return entry.path().string();
  return (fs::path(options.runs) / (run.name + end)).string();
}

bool has_checkpoint(const std::string& folder, int64_t step) { return fs::exists(checkpoint_path(folder, step)); }

// What its folder has recorded, finished or not; nothing where there is no folder, or one that was left before the first
// record, with which train starts anew.
std::optional<Run> record_of(const RunPlan& run, const RunnerOptions& options) {
  const std::string folder = run_folder(run, options);
  std::ifstream metrics(fs::path(folder) / "metrics.jsonl");
  std::string start;
  if (!std::getline(metrics, start) || metrics.eof()) return std::nullopt;
  return read_run(folder);
}

// Whether it ended, and what it ended with is there.
bool is_whole(const Run& record, const std::string& folder) {
  return record.state == RunState::kNonFinite ||
         (record.state == RunState::kFinished && has_checkpoint(folder, record.last_step));
}

[[noreturn]] void fail(const RunPlan& run, const std::string& log, const std::string& program) {
  stop_if_interrupted();
  throw Failure(run.name + ": " + program + " failed: " + last_line(log) + " (its output is in '" + log + "')");
}

// Not finite, or a final validation loss above half of that of a uniform guess. A run without updates diverges by the
// first alone: what a switch does to a model is what it is asked for.
bool has_diverged(const RunPlan& plan, const Run& run) {
  if (run.state == RunState::kNonFinite) return true;
  const EvalRecord* last = run.final_evaluation();
  const double vocabulary = std::max(effective_options(plan).vocab_size, 256);
  return last && effective_options(plan).steps > 0 && !(last->loss <= std::log(vocabulary) / 2);
}

// The checkpoint that a run starts from, of its parent's record; nothing where that diverged before it.
struct Start {
  std::string path;
  bool is_there = false, has_diverged = false;
};
Start start_of(const RunPlan& run, const Run& parent, const RunnerOptions& options) {
  const std::string folder = run_folder(*run.parent, options);
  const int64_t step = run.start_step > 0 ? run.start_step : parent.last_step;
  Start start{checkpoint_path(folder, step), has_checkpoint(folder, step)};
  start.has_diverged = has_diverged(*run.parent, parent) && (run.start_step == 0 || !start.is_there);
  return start;
}

// The run, trained to its end: now, or by an earlier call, or as the parent of another. Nothing where it has no start,
// because the run that it starts from diverged. `keep_all`: all of its checkpoints.
std::optional<Run> trained_run(const RunPlan& run, const RunnerOptions& options, bool keep_all = false) {
  const std::string folder = run_folder(run, options), log = folder + ".log";
  if (std::optional<Run> record = record_of(run, options); record && record->state != RunState::kUnfinished) {
    if (is_whole(*record, folder)) return record;
    fs::remove_all(folder);  // its last checkpoint was removed
  }

  std::vector<std::string> words{options.build + "/" + run.normalizer + "/train", "--out", folder, "--threads",
                                 std::to_string(options.threads)};
  if (fs::exists(fs::path(folder) / "options.ini")) {
    words.push_back("--resume");
  } else {
    words.insert(words.end(), {"--data", data_folder(options, run.data)});
    words = with_options(words, run.options);
    if (run.parent) {
      std::optional<Run> parent = trained_run(*run.parent, options);
      if (!parent) return std::nullopt;
      Start start = start_of(run, *parent, options);
      if (start.has_diverged) return std::nullopt;
      if (!start.is_there) {  // an interruption left newer checkpoints in its place
        fs::remove_all(run_folder(*run.parent, options));
        parent = trained_run(*run.parent, options, true);
        start = start_of(run, *parent, options);
        if (!start.is_there) throw Failure(run.name + " starts from '" + start.path + "', which no training leaves");
      }
      words.insert(words.end(), {"--" + run.start, start.path});
    }
    if (keep_all) words.insert(words.end(), {"--keep", "0"});
  }
  const int exit_code = run_process(words, log);
  std::optional<Run> record = record_of(run, options);
  if (!record || !is_whole(*record, folder) || (exit_code != 0 && record->state != RunState::kNonFinite))
    fail(run, log, "train");
  return record;
}

// The mean loss of the trained model over the first `tokens` of a split (0: all) by build/<normalizer>/evaluate.
double evaluated_loss(const RunPlan& run, const Run& record, const RunnerOptions& options, const std::string& split,
                      int64_t tokens) {
  const std::string folder = run_folder(run, options), log = folder + "." + split + ".log";
  fs::remove(log);
  const int exit_code =
      run_process({options.build + "/" + run.normalizer + "/evaluate", "--checkpoint",
                   checkpoint_path(folder, record.last_step), "--data", data_folder(options, run.data), "--split",
                   split, "--tokens", std::to_string(tokens), "--threads", std::to_string(options.threads)},
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
        {plan.name, "val_loss", double(run.last_step), 0, evaluated_loss(plan, run, options, "val", first_tokens)});
  return result;
}

}  // namespace

bool is_trained(const RunPlan& run, const RunnerOptions& options) {
  const std::optional<Run> record = record_of(run, options);
  return record && is_whole(*record, run_folder(run, options));
}

bool has_start(const RunPlan& run, const RunnerOptions& options) {
  if (!run.parent) return true;
  if (!is_trained(*run.parent, options)) return false;
  const Start start = start_of(run, *record_of(*run.parent, options), options);
  return start.is_there || start.has_diverged;
}

Result result_of(const RunPlan& plan, const std::vector<MeasureSpec>& measures, const RunnerOptions& options) {
  const std::optional<Run> trained = trained_run(plan, options);
  Result result;
  ResultRow& row = result.row;
  row.run = plan.name, row.group = plan.group, row.normalizer = plan.normalizer, row.data = plan.data;
  row.variant = plan.variant, row.lr = plan.lr, row.seed = plan.seed;
  row.options_hash = plan.hash();
  row.options = plan.options_text();
  row.data_hash = data_hash(options, plan);
  row.status = "diverged";
  if (!trained) return result;
  const Run& run = *trained;
  row.steps = run.last_step;
  row.tokens = run.last_step * run.tokens_per_update;
  double seconds = 0;
  for (const StepRecord& step : run.steps) seconds += step.milliseconds / 1e3;
  row.minutes = seconds / 60;
  if (const auto git = run.settings.find("git"); git != run.settings.end()) row.git = git->second;

  const EvalRecord* last = run.final_evaluation();
  const bool finite =
      last || effective_options(plan).steps == 0;  // without updates there is a checkpoint and no evaluation
  if (finite) row.val_loss = last ? last->loss : evaluated_loss(plan, run, options, "val", 0);
  if (finite && !has_diverged(plan, run)) row.status = "done";
  if (plan.group == kTuning) return result;
  if (finite) row.test_loss = evaluated_loss(plan, run, options, "test", 0);
  result.measurements = curves_of(plan, run, options);
  if (!finite) return result;
  const std::string folder = run_folder(plan, options);
  for (const MeasureSpec& measure : measures) {
    const std::vector<Measurement> more =
        measured(measure, MeasuredRun{plan, run, folder, checkpoint_path(folder, run.last_step),
                                      data_folder(options, plan.data), options.build, options.threads});
    const auto is_it = [&](const Measurement& m) { return m.quantity == measure.name; };
    if (std::none_of(more.begin(), more.end(), is_it))
      throw Failure(plan.name + ": nothing was measured for '" + measure.name + "'");
    result.measurements.insert(result.measurements.end(), more.begin(), more.end());
    row.measures += (row.measures.empty() ? "" : " ") + measure.name + "=" + measure_hash(options, measure);
  }
  return result;
}
