// Compiled once for each normalizer. Read it from the bottom: run_training() prepares a run and steps through it,
// Trainer holds the run's memory and does one update at a time.
#include "train/loop.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <optional>
#include <vector>

#include "data/dataset.h"
#include "data/error.h"
#include "data/loader.h"
#include "data/prepare.h"
#include "data/tokenizer.h"
#include "kernels/check.h"
#include "kernels/normalizer/normalizer.h"
#include "model/backend.h"
#include "model/backward.h"
#include "model/buffer.h"
#include "model/forward.h"
#include "train/attention_record.h"
#include "train/build_info.h"
#include "train/checkpoint.h"
#include "train/console.h"
#include "train/evaluation.h"
#include "train/generate.h"
#include "train/memory.h"
#include "train/memory_plan.h"
#include "train/metrics.h"
#include "train/optimizer.h"
#include "train/schedule.h"
#include "train/threads.h"

using nlohmann::ordered_json;
using N = SelectedNormalizer;
using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

namespace {

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Multiply-adds count as two; attention as the causal half. Forward and twice that for the backward.
double flops_per_token(const Config& config, int T) {
  const double C = config.C, linear = config.L * 12.0 * C * C + double(config.V) * C;
  return 6 * linear + config.L * 6.0 * (T + 1) * C;
}

// Where a run starts: its model, its options and, unless it starts from nothing, a checkpoint.
struct Start {
  TrainOptions options;
  Config config;
  std::string checkpoint;  // empty: from initial weights
  bool resumed = false;    // the checkpoint is the run's own
  bool with_optimizer = false;
  uint64_t step = 0;  // updates already done
  std::vector<std::string> log;
};

// ---------------------------------------------------------------------------------------------------------------------

class Trainer {
 public:
  Trainer(const Start& start, const Dataset& data)
      : options_(start.options),
        config_(start.config),
        data_(data),
        loader_(data.train, options_.batch_size, options_.seq_len, options_.grad_accum,
                options_.order == "sequential" ? Order::kSequential : Order::kShuffled, options_.data_seed),
        tensors_(parameter_tensors(config_)),
        B_(options_.batch_size),
        T_(options_.seq_len) {}

  // Allocates everything and fills the parameters. Returns lines for the log.
  std::vector<std::string> load(const Start& start) {
    const size_t size = parameter_floats(config_);
    parameters_ = Buffer(size);
    gradients_ = Buffer(size);
    m_ = Buffer(size);
    v_ = Buffer(size);
    activation_memory_ = Buffer(activation_floats(config_, kRowWords<N>, B_, T_, true));
    p_ = view_parameters(config_, parameters_.data());
    dp_ = view_parameters(config_, gradients_.data());
    a_ = view_activations(config_, kRowWords<N>, B_, T_, true, activation_memory_.data());
    inputs_.resize(B_ * T_);
    targets_.resize(B_ * T_);

    const double scale = options_.scale_init > 0 ? options_.scale_init : initial_scale(options_.seq_len);
    init_parameters(config_, parameters_.data(), options_.seed, scale);
    if (start.checkpoint.empty()) return {};
    const LoadMode mode = start.resumed ? LoadMode::kExact : LoadMode::kAdapt;
    auto lines = load_parameters(start.checkpoint, config_, parameters_.data(), mode);
    if (start.with_optimizer) load_optimizer(start.checkpoint, config_, m_.data(), v_.data(), mode);
    return lines;
  }

  struct Update {
    double loss, lr, grad_norm;
    std::vector<ordered_json> attention;  // records, where they were asked for
  };

  // Update k (from 0): forward and backward over all micro-batches, clipping, AdamW. Failure at the first number that
  // is not finite.
  Update update(uint64_t k, bool observe) {
    const double tokens = double(B_) * T_ * options_.grad_accum;
    Update result{};
    for (int micro = 0; micro < options_.grad_accum; micro++) {
      loader_.load(k, micro, inputs_.data(), targets_.data());
      forward<N>(config_, p_, a_, inputs_.data(), targets_.data(), B_, T_);
      double sum = 0;
      for (size_t i = 0; i < B_ * T_; i++) sum += a_.losses[i];
      if (!std::isfinite(sum)) stop_nonfinite(k + 1, "loss", forward_tensors(), activation_memory_.data());
      result.loss += sum / tokens;
      AttentionObserver observer;
      if (observe && micro == 0)
        observer = [&](int l, const float* dattention) {
          auto heads =
              observe_attention<N>(a_.h[l].qkv, dattention, p_.h[l].theta, a_.slopes, B_, T_, config_.C, config_.NH);
          std::vector<ordered_json> records;
          for (size_t h = 0; h < heads.size(); h++) records.push_back(heads[h].to_json(k + 1, l, h));
          result.attention.insert(result.attention.begin(), records.begin(), records.end());
        };
      backward<N>(config_, p_, dp_, a_, inputs_.data(), targets_.data(), float(1 / tokens), B_, T_, observer);
    }
    result.grad_norm = gradient_norm(gradients_.data(), gradients_.size());
    if (!std::isfinite(result.grad_norm)) {
      std::vector<Tensor> backwards(tensors_.rbegin(), tensors_.rend());
      stop_nonfinite(k + 1, "gradient", backwards, gradients_.data());
    }
    result.lr = learning_rate(options_, int(k));
    update_parameters(tensors_, parameters_.data(), gradients_.data(), m_.data(), v_.data(),
                      {result.lr, options_.beta1, options_.beta2, options_.weight_decay, options_.grad_clip}, k,
                      result.grad_norm);
    return result;
  }

  // After `step` updates. Failure at a loss that is not finite.
  Evaluation evaluate_val(uint64_t step, uint64_t limit) {
    auto evaluation = evaluate<N>(config_, p_, a_, data_.val, B_, T_, limit);
    if (!std::isfinite(evaluation.nats))
      stop_nonfinite(step, "validation loss", forward_tensors(), activation_memory_.data());
    return evaluation;
  }

  // A few words from the model, to look at. Empty where tokens are not bytes.
  std::string sample() {
    if (data_.tokenizer != "bytes") return "";
    constexpr int kTokens = 240;
    SamplingOptions sampling;
    sampling.seed = options_.seed;
    auto tokens = generate<N>(config_, p_, a_, encode("\n"), kTokens, T_, sampling, [](int32_t) {});
    return decode(tokens);
  }

  // Writes a checkpoint; Failure instead where a parameter is not finite, so that the last good one stays.
  std::string save(uint64_t step) {
    if (backend::first_nonfinite(parameters_.data(), parameters_.size()) < parameters_.size())
      stop_nonfinite(step, "updated model", tensors_, parameters_.data());
    TrainerState state;
    state.step = step;
    state.tokens = step * tokens_per_update();
    state.seed = options_.seed;
    state.data_seed = options_.data_seed;
    state.data_sha256 = data_.sha256;
    state.options = options_to_json(options_);
    return write_checkpoint(options_.out, config_, parameters_.data(), m_.data(), v_.data(), state, options_.keep);
  }

  uint64_t tokens_per_update() const { return uint64_t(B_) * T_ * options_.grad_accum; }
  uint64_t updates_per_epoch() const { return loader_.updates_per_epoch(); }

  // What stopped the run, for the metrics.
  const std::optional<ordered_json>& nonfinite() const { return nonfinite_; }

 private:
  // What the forward computes, in its order. Not the normalizer's rows: they may hold infinities by design.
  std::vector<ActivationTensor> forward_tensors() const {
    auto tensors = activation_tensors(config_, kRowWords<N>, B_, T_, false);
    std::erase_if(tensors, [](const ActivationTensor& tensor) { return tensor.name.ends_with(".attn.rows"); });
    return tensors;
  }

  // Names the first tensor of the list that holds such a number, and where; throws.
  template <class List>
  [[noreturn]] void stop_nonfinite(uint64_t step, const std::string& what, const List& list, const float* block) {
    std::string tensor = what, place;
    size_t index = 0;
    for (const auto& candidate : list) {
      index = backend::first_nonfinite(block + candidate.offset, candidate.size);
      if (index == candidate.size) continue;
      tensor = candidate.name;
      place = " at index " + std::to_string(index);
      break;
    }
    nonfinite_ =
        ordered_json{{"event", "nonfinite"}, {"step", step}, {"what", what}, {"tensor", tensor}, {"index", index}};
    std::string layer = tensor.rfind("h.", 0) == 0 ? "layer " + tensor.substr(2, tensor.find('.', 2) - 2) + ", " : "";
    throw Failure("update " + std::to_string(step) + ": the " + what + " is not finite; the first such number is in " +
                  layer + "tensor " + tensor + place + "; checkpoints in '" + options_.out +
                  "' are as they were, and a lower --lr or --grad-clip may help");
  }

  TrainOptions options_;
  Config config_;
  const Dataset& data_;
  Loader loader_;
  std::vector<Tensor> tensors_;
  size_t B_, T_;
  Buffer parameters_, gradients_, m_, v_, activation_memory_;
  Parameters p_, dp_;
  Activations a_;
  std::vector<int32_t> inputs_, targets_;
  std::optional<ordered_json> nonfinite_;
};

// --- before the run --------------------------------------------------------------------------------------------------

void require_same_normalizer(const std::string& normalizer, const std::string& trained) {
  if (normalizer != kSelectedName)
    throw Error(trained + " was trained with " + normalizer + ", and this program is built for " + kSelectedName +
                "; use build/" + normalizer + "/train, or --init-from to switch");
}

// A new run, from nothing or from a checkpoint whose shape it takes.
Start start_new(const TrainOptions& asked) {
  Start start;
  start.options = asked;
  const bool goes_on = !asked.continue_from.empty();
  const std::string& from = goes_on ? asked.continue_from : asked.init_from;
  if (from.empty()) return start;
  FoundCheckpoint found = find_checkpoint(from, goes_on ? CheckpointUse::kTraining : CheckpointUse::kWeights);
  start.log = found.warnings;
  start.config = load_config(found.path);
  start.checkpoint = found.path;
  start.with_optimizer = goes_on;
  take_shape(start.options, start.config, found.path);
  if (goes_on) start.step = load_trainer_state(found.path).step;
  return start;
}

// A run that exists goes on from its newest checkpoint, or starts again where it has none yet. options.ini holds what
// an earlier --resume changed.
Start start_resumed(const TrainOptions& asked) {
  const std::string ini = (fs::path(asked.out) / "options.ini").string();
  if (!fs::exists(ini)) throw Error("--resume needs a run, and --out '" + asked.out + "' holds no options.ini");
  const char* words[] = {"train", "--config", ini.c_str(), "--out", asked.out.c_str()};
  const TrainOptions saved = parse_train_options(5, words, kSelectedName);
  FoundCheckpoint found = newest_checkpoint(asked.out, CheckpointUse::kTraining);
  if (found.path.empty()) {
    require_same_normalizer(Metrics::normalizer(asked.out).value_or(kSelectedName), "the run '" + asked.out + "'");
    TrainOptions options = merge_resume(saved, asked);
    options.given = saved.given;
    Start start = start_new(options);
    start.log.push_back("the run has no checkpoint yet: starting at update " + std::to_string(start.step));
    return start;
  }
  Start start;
  start.log = found.warnings;
  start.config = load_config(found.path);
  require_same_normalizer(start.config.normalizer, "checkpoint '" + found.path + "'");
  TrainerState state = load_trainer_state(found.path);
  const TrainOptions first = options_from_json(state.options, found.path + "/trainer_state.json");
  start.options = merge_resume(merge_resume(first, saved), asked);
  start.checkpoint = found.path;
  start.resumed = true;
  start.with_optimizer = true;
  start.step = state.step;
  return start;
}

// The model of a run without a checkpoint comes from the options; then the normalizer is this program's in any case.
void complete_config(Start& start, int vocab_size) {
  const TrainOptions& options = start.options;
  Config& config = start.config;
  if (start.checkpoint.empty()) {
    config.L = options.layers;
    config.NH = options.heads;
    config.C = options.channels;
    config.T = options.seq_len;
    config.V = vocab_size;
    config.position = position_from_name(options.position);
    config.rope_theta = options.rope_theta;
    config.tied = !options.untied;
  }
  config.normalizer = kSelectedName;
  config.normalizer_params = N::params;
  if (config.position == Position::kLearned && options.seq_len > config.T)
    throw Error("--seq-len is " + std::to_string(options.seq_len) + ", but the checkpoint has learned positions for " +
                std::to_string(config.T) + " tokens; use at most that");
  if (config.position != Position::kLearned) config.T = options.seq_len;
  check_config(config);
}

// Removes a folder, and those above it that were made for it, unless the run begins: --text writes tokens into the run
// folder before it is known whether the model fits them.
class NewFolder {
 public:
  explicit NewFolder(const fs::path& folder) {
    std::error_code ignored;
    for (fs::path path = folder; !path.empty() && !fs::exists(path, ignored); path = path.parent_path())
      made_.push_back(path);
  }
  ~NewFolder() {
    std::error_code ignored;
    if (!made_.empty()) fs::remove_all(made_.front(), ignored);
    for (const fs::path& path : made_) fs::remove(path, ignored);  // unless someone else has put something there
  }
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;

  void keep() { made_.clear(); }

 private:
  std::vector<fs::path> made_;  // the innermost first
};

fs::path text_folder(const TrainOptions& options) { return fs::path(options.out) / "data"; }

// The tokens of --data, or of --text in the run folder. A run that goes on has the latter already.
Dataset open_data(const Start& start) {
  const TrainOptions& options = start.options;
  const std::string wanted =
      start.checkpoint.empty() ? "--vocab-size" : "the vocabulary of checkpoint '" + start.checkpoint + "'";
  if (options.text.empty()) return load_dataset(options.data, options.vocab_size, wanted);
  if (options.vocab_size != 0 && options.vocab_size != kByteVocabSize)
    throw Error(wanted + " is " + std::to_string(options.vocab_size) + ", but the tokens of --text '" + options.text +
                "' are bytes; it must be " + std::to_string(kByteVocabSize));
  const fs::path folder = text_folder(options);
  if (!options.resume || !fs::exists(folder / "tokens.json"))
    prepare({{options.text}, options.text, ""}, folder.string());
  return load_dataset(folder.string(), options.vocab_size);
}

void refuse_used_folder(const TrainOptions& options) {
  std::error_code ignored;
  for (const char* name : {"metrics.jsonl", "options.ini", "checkpoints"})
    if (fs::exists(fs::path(options.out) / name, ignored))
      throw Error("--out '" + options.out + "' holds a run already (" + name +
                  "); give another folder, or --resume to go on with it");
}

// The run folder, or the nearest one above it that exists, must be a folder that takes files.
void require_writable(const std::string& folder) {
  std::error_code ignored;
  fs::path place = fs::absolute(folder);
  while (!fs::exists(place, ignored) && place.has_relative_path()) place = place.parent_path();
  if (!fs::is_directory(place, ignored))
    throw Error("--out '" + folder + "' cannot be made: '" + place.string() + "' is not a folder");
  if (access(place.c_str(), W_OK | X_OK) != 0)
    throw Error("--out '" + folder + "' cannot be written: " + std::strerror(errno));
}

void make_folder(const std::string& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw Error("--out '" + folder + "' cannot be made: " + error.message());
}

// --- the banner and the records --------------------------------------------------------------------------------------

std::string shape_words(const Config& config) {
  return std::to_string(config.L) + " layers, " + std::to_string(config.NH) + " heads, " + std::to_string(config.C) +
         " channels, vocabulary " + std::to_string(config.V) + ", positions " + position_name(config.position) +
         (config.tied ? ", tied head" : ", untied head");
}

void print_banner(const Start& start, const Dataset& data, const ThreadCount& threads, const MemoryPlan& plan) {
  const TrainOptions& options = start.options;
  const uint64_t tokens = uint64_t(options.batch_size) * options.seq_len * options.grad_accum;
  print_fact("normalizer", std::string(kSelectedName) + ", trained by attnorm " + version_text());
  print_fact("device", "cpu, fp32, " + std::to_string(threads.threads) +
                           (threads.threads == 1 ? " thread: " : " threads: ") + threads.reason);
  print_fact("data", data.directory + ": " + with_commas(data.train.size()) + " training tokens, " +
                         with_commas(data.val.size()) + " validation tokens" +
                         (data.vocab_from_default ? "; no tokens.json: GPT-2's vocabulary of 50257 is assumed" : ""));
  if (data.unexpected_text)
    print_fact("warning", "this is not the text that the README's losses were measured on; they do not apply");
  print_fact("model", shape_words(start.config));
  print_fact("parameters", with_commas(parameter_count(start.config)) + ", " +
                               with_commas(uint64_t(flops_per_token(start.config, options.seq_len))) +
                               " operations a token");
  print_fact("memory", plan_text(plan));
  print_fact("update", with_commas(tokens) + " tokens (" + std::to_string(options.batch_size) + " rows of " +
                           std::to_string(options.seq_len) +
                           (options.grad_accum > 1 ? ", " + std::to_string(options.grad_accum) + " times" : "") +
                           "), " + with_commas(options.steps) + " updates, learning rate " +
                           ordered_json(options.lr).dump() + " " + options.schedule);
  char log_v[32];
  std::snprintf(log_v, sizeof log_v, "%.3f", std::log(double(start.config.V)));
  print_fact("loss", "about ln " + std::to_string(start.config.V) + " = " + log_v + " nats at the start");
  print_fact("run", options.out);
  for (const std::string& line : start.log) print_fact("note", line);
}

ordered_json start_record(const Start& start, const Dataset& data, const ThreadCount& threads, const MemoryPlan& plan) {
  ordered_json bytes = data.bytes, sha256 = data.sha256;
  return {{"event", "start"},
          {"schema", 1},
          {"step", start.step},
          {"normalizer", kSelectedName},
          {"device", "cpu"},
          {"precision", "fp32"},
          {"tf32", false},
          {"simd", simd_text()},
          {"threads", threads.threads},
          {"version", kVersion},
          {"git", git_text()},
          {"compiler", compiler_text()},
          {"options", options_to_json(start.options)},
          {"parameters", parameter_count(start.config)},
          {"flops_per_token", flops_per_token(start.config, start.options.seq_len)},
          {"memory_bytes", plan_to_json(plan)},
          {"data",
           {{"directory", data.directory},
            {"vocab_size", data.vocab_size},
            {"tokenizer", data.tokenizer},
            {"source", data.source},
            {"train_tokens", data.train.size()},
            {"val_tokens", data.val.size()},
            {"bytes", bytes},
            {"sha256", sha256},
            {"expected", !data.unexpected_text}}}};
}

ordered_json eval_record(const Evaluation& evaluation, const Dataset& data, uint64_t step) {
  const bool whole = evaluation.tokens + 1 == data.val.size();
  double bytes = data.tokenizer == "bytes" ? double(evaluation.tokens + 1) : whole ? double(data.bytes_in("val")) : 0;
  ordered_json bits = bytes > 0 ? ordered_json(evaluation.bits_per_byte(bytes)) : ordered_json();
  return {{"event", "eval"},           {"step", step},          {"split", "val"},
          {"loss", evaluation.loss()}, {"bits_per_byte", bits}, {"tokens", evaluation.tokens}};
}

std::string eval_words(const ordered_json& record) {
  char text[160];
  std::snprintf(text, sizeof text, "%8llu  %12.4f  validation loss [nats] over %s tokens",
                record["step"].get<unsigned long long>(), record["loss"].get<double>(),
                with_commas(record["tokens"].get<uint64_t>()).c_str());
  if (record["bits_per_byte"].is_null()) return text;
  char bits[40];
  std::snprintf(bits, sizeof bits, ", %.4f bits per byte", record["bits_per_byte"].get<double>());
  return std::string(text) + bits;
}

// --- the run ---------------------------------------------------------------------------------------------------------

// Set by the first Ctrl-C (SIGINT) or SIGTERM; the second one ends the program at once.
volatile sig_atomic_t interrupted = 0;

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted = 1; };
  action.sa_flags = SA_RESTART | int(SA_RESETHAND);
  for (int number : {SIGINT, SIGTERM}) {
    struct sigaction before {};
    sigaction(number, nullptr, &before);
    if (before.sa_handler != SIG_IGN) sigaction(number, &action, nullptr);
  }
}

// All updates from start.step on, with what is logged in between: step, eval, attention, checkpoint, in this order.
void train_updates(Trainer& trainer, const Start& start, const Dataset& data, Metrics& metrics) {
  const TrainOptions& options = start.options;
  const uint64_t steps = options.steps;
  constexpr uint64_t kWholeSplit = UINT64_MAX;
  auto due = [&](int every, uint64_t step) { return every > 0 && step % every == 0; };

  Progress progress;
  progress.header();
  auto evaluate_and_log = [&](uint64_t step, uint64_t limit) {
    ordered_json record = eval_record(trainer.evaluate_val(step, limit), data, step);
    metrics.write(record);
    progress.note(eval_words(record));
  };
  auto checkpoint = [&](uint64_t step) {
    std::string path = trainer.save(step);
    metrics.write({{"event", "checkpoint"}, {"step", step}, {"path", fs::path(path).lexically_relative(options.out)}});
  };

  if (start.step == 0 && options.eval_every > 0 && steps > 0) evaluate_and_log(0, options.eval_tokens);
  double seconds = 0;
  for (uint64_t k = start.step; k < steps; k++) {
    const uint64_t step = k + 1;
    const auto begin = Clock::now();
    auto update = trainer.update(k, due(options.attention_every, step));
    const double dt = seconds_since(begin);
    seconds += dt;
    const double tokens_per_s = double(trainer.tokens_per_update()) / dt;
    metrics.write({{"event", "step"},
                   {"step", step},
                   {"tokens", step * trainer.tokens_per_update()},
                   {"loss", update.loss},
                   {"lr", update.lr},
                   {"grad_norm", update.grad_norm},
                   {"dt_ms", dt * 1e3},
                   {"tokens_per_s", tokens_per_s}});
    const bool logged = due(options.log_every, step) || step == 1 || step == steps;
    progress.step({step, steps, update.loss, update.lr, update.grad_norm, dt * 1e3, tokens_per_s,
                   seconds / double(step - start.step) * double(steps - step)},
                  logged);
    if (step == steps)
      evaluate_and_log(step, kWholeSplit);
    else if (due(options.eval_every, step))
      evaluate_and_log(step, options.eval_tokens);
    for (const ordered_json& record : update.attention) metrics.write(record);
    const bool stop = interrupted && step < steps;
    if (step == steps || due(options.checkpoint_every, step) || stop) checkpoint(step);
    if (stop)
      throw Failure("interrupted after update " + std::to_string(step) + ", which is saved; --resume --out '" +
                    options.out + "' goes on");
  }
  if (steps == 0)
    checkpoint(0);
  else if (start.step == steps)  // a resumed run that asks for no more than it has
    evaluate_and_log(steps, kWholeSplit);

  const double done = double((steps - start.step) * trainer.tokens_per_update());
  const std::string sample = steps > 0 ? trainer.sample() : "";
  metrics.write({{"event", "end"},
                 {"step", steps},
                 {"status", "done"},
                 {"seconds", seconds},
                 {"tokens_per_s", seconds > 0 ? ordered_json(done / seconds) : ordered_json()},
                 {"peak_bytes", peak_memory_bytes()},
                 {"sample", sample}});
  if (seconds > 0)
    progress.note("\ndone: " + with_commas(uint64_t(done)) + " tokens in " + clock_text(seconds) + ", " +
                  with_commas(uint64_t(done / seconds)) + " tokens/s, peak memory " +
                  format_bytes(peak_memory_bytes()));
  progress.note("next: build/" + std::string(kSelectedName) + "/sample --checkpoint " + options.out);
}

}  // namespace

int run_training(const TrainOptions& asked) {
  // 1. Where to start, on which data, with which model; every objection comes before anything is written.
  Start start = asked.resume ? start_resumed(asked) : start_new(asked);
  const TrainOptions& options = start.options;
  if (!asked.resume) refuse_used_folder(options);
  require_writable(options.out);
  NewFolder text_data(options.text.empty() ? fs::path() : text_folder(options));
  const Dataset data = open_data(start);
  require_predictable(data.val);
  complete_config(start, data.vocab_size);
  if (start.resumed && load_trainer_state(start.checkpoint).data_sha256 != data.sha256)
    throw Error("--data '" + data.directory + "' has changed since the run started (other SHA-256 than in '" +
                start.checkpoint + "'); restore it, or start a new run with --continue-from");
  const uint64_t steps = options.steps;
  if (start.step > steps || (start.step == steps && steps > 0 && !start.resumed))
    throw Error("--steps is " + std::to_string(steps) + ", but the checkpoint has done " + std::to_string(start.step) +
                " updates already; ask for more");

  // 2. The plan.
  const ThreadCount threads = set_threads(options.threads);
  const MemoryPlan plan =
      plan_memory(start.config, kRowWords<N>, options.batch_size, options.seq_len, true, threads.threads);
  print_banner(start, data, threads, plan);
  require_memory(start.config, kRowWords<N>, options.batch_size, options.seq_len, true, threads.threads,
                 available_memory_bytes());
  if (start.resumed && start.step == steps && Metrics::ended(options.out, start.step)) {
    print_fact("finished", "the run has done all of its " + std::to_string(steps) +
                               " updates; --steps with a larger number goes on");
    return 0;
  }
  Trainer trainer(start, data);
  print_fact("epoch", with_commas(trainer.updates_per_epoch()) + " updates");
  if (options.dry_run) return 0;
  for (const std::string& line : trainer.load(start)) print_fact("note", line);

  // 3. The run folder.
  make_folder(options.out);
  text_data.keep();
  Metrics::truncate(options.out, start.resumed ? std::optional(start.step) : std::nullopt);
  write_options_ini((fs::path(options.out) / "options.ini").string(), options);
  Metrics metrics(options.out);
  if (metrics.empty())
    metrics.write(start_record(start, data, threads, plan));
  else
    metrics.write(
        {{"event", "resume"}, {"step", start.step}, {"options", options_to_json(options)}, {"git", git_text()}});

  // 4. Training.
  catch_interrupts();
  try {
    train_updates(trainer, start, data, metrics);
  } catch (const Failure&) {
    if (trainer.nonfinite()) metrics.write(*trainer.nonfinite());
    throw;
  }
  return 0;
}
