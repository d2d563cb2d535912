// Compiled once for each normalizer. Read it from the bottom: run_training() prepares a run (train/start.h) and steps
// through it; Trainer (train/trainer.h) holds the run's memory and does one update at a time.
#include "train/loop.h"

#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <type_traits>

#include "data/dataset.h"
#include "data/error.h"
#include "kernels/normalizer/normalizer.h"
#include "train/build_info.h"
#include "train/command_line.h"
#include "train/console.h"
#include "train/device.h"
#include "train/folder_lock.h"
#include "train/memory.h"
#include "train/memory_plan.h"
#include "train/metrics.h"
#include "train/saver.h"
#include "train/signals.h"
#include "train/start.h"
#include "train/threads.h"
#include "train/trainer.h"
#include "train/variant.h"

using nlohmann::ordered_json;
using N = SelectedNormalizer;
using P = SelectedPrecision;
using S = backend::Storage<P>;
using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

namespace {

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// TF32 rounds the operands of fp32 products on a GPU.
constexpr bool kHasTf32 = !backend::kOnHost && std::is_same_v<P, fp32>;
bool uses_tf32(const TrainOptions& options) { return kHasTf32 && options.tf32; }

// --- the banner and the records --------------------------------------------------------------------------------------

std::string shape_words(const Config& config) {
  return std::to_string(config.L) + " layers, " + std::to_string(config.NH) + " heads, " + std::to_string(config.C) +
         " channels, vocabulary " + std::to_string(config.V) + ", positions " + position_name(config.position) +
         (config.tied ? ", tied head" : ", untied head");
}

// Whether a checkpoint is due before the last update; where there is only the one at the end, no update waits for it.
bool saves_between_updates(const TrainOptions& options) {
  return options.checkpoint_every > 0 && options.checkpoint_every < options.steps;
}

void print_banner(const Start& start, const Dataset& data, const DeviceFacts& device, const MemoryPlan& plan,
                  bool in_background) {
  const TrainOptions& options = start.options;
  const uint64_t tokens = uint64_t(options.batch_size) * options.seq_len * options.grad_accum;
  print_fact("normalizer",
             std::string(kSelectedName) + " in " + kPrecisionName<P> + ", trained by attnorm " + version_text());
  print_fact("device", device.banner);
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
  if (saves_between_updates(options) && !in_background)
    print_fact("checkpoints", options.checkpoint_sync ? "training waits while one is written, as --checkpoint-sync asks"
                                                      : "training waits while one is written: a copy of " +
                                                            format_bytes(checkpoint_copy_bytes(start.config)) +
                                                            " would not fit into the memory that is free");
  print_fact("update", with_commas(tokens) + " tokens (" + std::to_string(options.batch_size) + " rows of " +
                           std::to_string(options.seq_len) +
                           (options.grad_accum > 1 ? ", " + std::to_string(options.grad_accum) + " times" : "") +
                           "), " + with_commas(options.steps) + " updates, learning rate " + number_text(options.lr) +
                           " " + options.schedule);
  char log_v[32];
  std::snprintf(log_v, sizeof log_v, "%.3f", std::log(double(start.config.V)));
  print_fact("loss", "about ln " + std::to_string(start.config.V) + " = " + log_v + " nats at the start");
  print_fact("run", options.out);
  for (const std::string& line : start.log) print_fact("note", line);
}

// What runs here: with the same options and the same of these, the same bits.
void add_program(ordered_json& record, const Start& start, const DeviceFacts& device, const ThreadCount& threads) {
  record["device"] = device.record;
  record["precision"] = kPrecisionName<P>;
  record["tf32"] = uses_tf32(start.options);
  record["simd"] = simd_text();
  record["threads"] = threads.threads;
  record["version"] = kVersion;
  record["git"] = git_text();
  record["compiler"] = compiler_text();
}

ordered_json start_record(const Start& start, const Dataset& data, const DeviceFacts& device,
                          const ThreadCount& threads, const MemoryPlan& plan) {
  ordered_json record = {{"event", "start"}, {"schema", 1}, {"step", start.step}, {"normalizer", kSelectedName}};
  add_program(record, start, device, threads);
  record["options"] = options_to_json(start.options);
  record["parameters"] = parameter_count(start.config);
  record["flops_per_token"] = flops_per_token(start.config, start.options.seq_len);
  record["memory_bytes"] = plan_to_json(plan);
  record["data"] = {{"directory", data.directory},
                    {"vocab_size", data.vocab_size},
                    {"tokenizer", data.tokenizer},
                    {"source", data.source},
                    {"train_tokens", data.train.size()},
                    {"val_tokens", data.val.size()},
                    {"bytes", ordered_json(data.bytes)},
                    {"sha256", ordered_json(data.sha256)},
                    {"unexpected_text", data.unexpected_text}};
  return record;
}

ordered_json resume_record(const Start& start, const DeviceFacts& device, const ThreadCount& threads) {
  ordered_json record = {{"event", "resume"}, {"step", start.step}};
  add_program(record, start, device, threads);
  record["options"] = options_to_json(start.options);
  return record;
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

// All updates from start.step on, with what is logged in between: step, eval, attention, checkpoint, in this order. After
// the last one the checkpoint comes before the evaluation, which may take long.
void train_updates(Trainer<N, P>& trainer, const Start& start, const Dataset& data, Saver& saver, Metrics& metrics) {
  const TrainOptions& options = start.options;
  const uint64_t steps = options.steps, whole_split = data.val.size() - 1;
  auto due = [&](int every, uint64_t step) { return every > 0 && step % every == 0; };

  Progress progress;
  progress.header();
  auto evaluate_and_log = [&](uint64_t step, uint64_t limit) {
    ordered_json record = eval_record(trainer.evaluate_val(step, limit), data, step);
    metrics.write(record);
    progress.note(eval_words(record));
  };
  auto log_checkpoint = [&](const std::optional<Saver::Saved>& saved) {
    if (saved)
      metrics.write({{"event", "checkpoint"},
                     {"step", saved->step},
                     {"path", fs::path(saved->path).lexically_relative(options.out)},
                     {"seconds", saved->seconds}});
  };
  auto checkpoint = [&](uint64_t step) {
    log_checkpoint(saver.wait());
    trainer.save(step, saver);
  };

  if (start.step == 0 && options.eval_every > 0 && steps > 0) evaluate_and_log(0, options.eval_tokens);
  double seconds = 0;
  for (uint64_t k = start.step; k < steps; k++) {
    const uint64_t step = k + 1;
    const bool last = step == steps;
    const auto begin = Clock::now();
    const bool observe = options.attention_every > 0 && (step == 1 || step % options.attention_every == 0);
    auto update = trainer.update(k, observe);
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
    progress.step({step, steps, update.loss, update.lr, update.grad_norm, dt * 1e3, tokens_per_s,
                   seconds / double(step - start.step) * double(steps - step)},
                  due(options.log_every, step) || step == 1 || last);
    if (!last && due(options.eval_every, step)) evaluate_and_log(step, options.eval_tokens);
    for (const ordered_json& record : update.attention) metrics.write(record);
    const bool stop = interrupted() && !last;
    if (last || due(options.checkpoint_every, step) || stop) checkpoint(step);
    if (last) evaluate_and_log(step, whole_split);
    log_checkpoint(stop ? saver.wait() : saver.finished());
    if (stop)
      throw Failure("interrupted after update " + std::to_string(step) + ", which is saved; go on with: " +
                    shell_word(options.program) + " --resume --out " + shell_word(options.out));
  }
  if (steps == 0)
    checkpoint(0);
  else if (start.step == steps && !Metrics::evaluated(options.out, steps, whole_split))
    evaluate_and_log(steps, whole_split);  // a resumed run that asks for no more than it has

  const double done = double((steps - start.step) * trainer.tokens_per_update());
  const std::string sample = steps > 0 ? trainer.sample() : "";
  log_checkpoint(saver.wait());
  metrics.write({{"event", "end"},
                 {"step", steps},
                 {"status", "done"},
                 {"seconds", seconds},
                 {"tokens_per_s", seconds > 0 ? ordered_json(done / seconds) : ordered_json()},
                 {"peak_bytes", peak_memory_bytes()},
                 {"sample", sample}});
  metrics.sync();
  if (seconds > 0)
    progress.note("\ndone: " + with_commas(uint64_t(done)) + " tokens in " + clock_text(seconds) + ", " +
                  with_commas(uint64_t(done / seconds)) + " tokens/s, peak memory " +
                  format_bytes(peak_memory_bytes()));
  progress.note("next: build/" + selected_variant() + "/sample --checkpoint " + shell_word(options.out));
}

// Whether checkpoints are written while training goes on.
bool saves_in_background(const TrainOptions& options, const MemoryPlan& plan, size_t copy_bytes) {
  const bool fits = copy_bytes + (backend::kOnHost ? plan.total() : 0) <= available_memory_bytes();
  return fits && !options.checkpoint_sync && saves_between_updates(options);
}

// A resumed run reads what it has read before.
void require_same_data(const Start& start, const Dataset& data) {
  const std::string remedy = "; restore it, or start a new run with --continue-from";
  if (start.data_sha256 != data.sha256)
    throw Error("--data '" + data.directory + "' has changed since the run started (other SHA-256 than in '" +
                start.checkpoint + "')" + remedy);
  const std::string tokenizer = Metrics::tokenizer(start.options.out);
  if (!tokenizer.empty() && tokenizer != data.tokenizer)
    throw Error("--data '" + data.directory + "' has changed since the run started: its tokenizer is '" +
                data.tokenizer + "' and was '" + tokenizer + "'" + remedy);
}

}  // namespace

int run_training(const TrainOptions& asked) {
  // 1. Where to start, on which data, with which model; every objection comes before anything is written.
  if (asked.tf32 && asked.given.count("tf32") && !kHasTf32)
    throw Error("--tf32 is for build/" + variant_name(kSelectedName, "", true) +
                "/train, which multiplies in fp32 on a GPU; this program is built for " + selected_variant());
  require_writable(asked.out);
  NewFolder run_folder(asked.out);
  std::optional<FolderLock> lock;
  if (!asked.dry_run && (!asked.resume || fs::exists(asked.out))) {
    make_folder(asked.out);
    lock.emplace(asked.out, "--out");
  }
  if (!asked.resume) refuse_used_folder(asked);
  Start start = start_run(asked, kSelectedName, kPrecisionName<P>, !backend::kOnHost);
  start.options.program = asked.program;
  const TrainOptions& options = start.options;
  NewFolder text_data(options.text.empty() ? fs::path() : text_folder(options));
  const Dataset data = open_data(start);
  require_predictable(data.val);
  complete_config(start, data.vocab_size, kSelectedName, N::params, N::length_scale);
  if (start.resumed) require_same_data(start, data);
  const uint64_t steps = options.steps;
  if (start.step > steps || (start.step == steps && steps > 0 && !start.resumed))
    throw Error("--steps is " + std::to_string(steps) + ", but the checkpoint has done " + std::to_string(start.step) +
                " updates already; ask for more");

  // 2. The plan.
  const ThreadCount threads = set_threads(options.threads);
  const DeviceFacts device = backend::describe_device(threads, uses_tf32(options));
  MemoryPlan plan =
      plan_memory<S>(start.config, kRowWords<N>, options.batch_size, options.seq_len, true, threads.threads);
  if (backend::kOnHost) plan.workspace += permutation_bytes(data.train.size(), options.seq_len, order_of(options));
  const bool in_background = saves_in_background(options, plan, checkpoint_copy_bytes(start.config));
  if (in_background || !backend::kOnHost) plan.checkpoint = checkpoint_copy_bytes(start.config);
  print_banner(start, data, device, plan, in_background);
  require_memory<S>(start.config, kRowWords<N>, options.batch_size, options.seq_len, true, threads.threads,
                    device.free_bytes);
  if (start.resumed && start.step == steps && Metrics::ended(options.out, start.step)) {
    print_fact("finished", "the run has done all of its " + std::to_string(steps) +
                               " updates; --steps with a larger number goes on");
    const std::string git = Metrics::program(options.out, "git");
    if (git != git_text())
      print_fact("note", "it was trained by " + git + ", and this program is " + git_text() +
                             "; remove the folder to train it again");
    return 0;
  }
  Trainer<N, P> trainer(start, data);
  print_fact("epoch", with_commas(trainer.updates_per_epoch()) + " updates");
  if (options.dry_run) return 0;
  for (const std::string& line : trainer.load(start)) print_fact("note", line);

  // 3. The run folder.
  run_folder.keep();
  text_data.keep();
  if (start.resumed) tidy_checkpoints(options.out, start.step, options.keep);
  Metrics::truncate(options.out, start.resumed ? std::optional(start.step) : std::nullopt);
  write_options_ini((fs::path(options.out) / "options.ini").string(), options);
  Metrics metrics(options.out);
  metrics.write(metrics.empty() ? start_record(start, data, device, threads, plan)
                                : resume_record(start, device, threads));

  // 4. Training.
  catch_signals();
  Saver saver(options.out, start.config, parameter_floats(start.config), in_background, metrics);
  try {
    train_updates(trainer, start, data, saver, metrics);
  } catch (const Failure&) {
    if (trainer.nonfinite()) metrics.write(*trainer.nonfinite());
    throw;
  }
  return 0;
}
