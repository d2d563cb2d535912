// The memory of a training run, and one update at a time.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "data/dataset.h"
#include "data/error.h"
#include "data/loader.h"
#include "data/tokenizer.h"
#include "kernels/check.h"
#include "kernels/normalizer/normalizer.h"
#include "model/backend.h"
#include "model/backward.h"
#include "model/forward.h"
#include "model/observed.h"
#include "model/weights.h"
#include "train/attention_record.h"
#include "train/checkpoint.h"
#include "train/command_line.h"
#include "train/evaluation.h"
#include "train/generate.h"
#include "train/memory_plan.h"
#include "train/nonfinite.h"
#include "train/number_search.h"
#include "train/optimizer.h"
#include "train/saver.h"
#include "train/schedule.h"
#include "train/start.h"

inline Order order_of(const TrainOptions& options) {
  return options.order == "sequential" ? Order::kSequential : Order::kShuffled;
}

template <class N, class P = fp32>
class Trainer {
  using S = backend::Storage<P>;

 public:
  Trainer(const Start& start, const Dataset& data)
      : options_(start.options),
        config_(start.config),
        data_(data),
        loader_(data.train, options_.batch_size, options_.seq_len, options_.grad_accum, order_of(options_),
                options_.data_seed),
        tensors_(parameter_tensors(config_)),
        B_(options_.batch_size),
        T_(options_.seq_len) {}

  // Allocates everything and fills the parameters. Returns lines for the log.
  std::vector<std::string> load(const Start& start) {
    weights_ = Weights<S>(config_);
    for (backend::Memory* block : {&gradients_, &m_, &v_}) *block = backend::Memory(weights_.size());
    activation_memory_ = backend::Memory(activation_floats<S>(config_, kRowWords<N>, B_, T_, true));
    dp_ = view_parameters(config_, gradients_.data());
    a_ = view_activations<S>(config_, kRowWords<N>, B_, T_, true, activation_memory_.data());
    const Workspace scratch = workspace(config_, B_, T_);
    backend::reserve_scratch(scratch.each_thread, scratch.shared);
    inputs_.resize(B_ * T_);
    targets_.resize(B_ * T_);

    const double scale =
        options_.scale_init > 0 ? options_.scale_init : initial_scale(options_.seq_len, config_.length_scale);
    const LoadMode mode = start.resumed ? LoadMode::kExact : LoadMode::kAdapt;
    std::vector<std::string> lines;
    weights_.fill([&](float* parameters) {
      init_parameters(config_, parameters, options_.seed, scale);
      perturb_parameters(config_, parameters, options_.seed, options_.init_noise);
      if (!start.checkpoint.empty()) lines = load_parameters(start.checkpoint, config_, parameters, mode);
    });
    if (start.with_optimizer)
      m_.fill([&](float* m) { v_.fill([&](float* v) { load_optimizer(start.checkpoint, config_, m, v, mode); }); });
    require_finite(start);
    if (options_.check_from > 0)
      lines.push_back("every kernel's output is checked from update " +
                      std::to_string(std::max<uint64_t>(options_.check_from, start.step + 1)) + " on");
    return lines;
  }

  struct Update {
    double loss, lr, grad_norm;
    std::vector<nlohmann::ordered_json> attention;  // records, where they were asked for
  };

  // Update k (from 0): forward and backward over all micro-batches, clipping, AdamW. Failure at the first loss, gradient
  // or weight that is not finite.
  Update update(uint64_t k, bool observe) {
    const double tokens = double(B_) * T_ * options_.grad_accum;
    Update result{};
    at_step(k + 1, k + 1);
    for (int micro = 0; micro < options_.grad_accum; micro++) {
      loader_.load(k, micro, inputs_.data(), targets_.data());
      rows_ = training_rows(k, micro);
      run_forward(inputs_.data(), targets_.data(), float(1 / tokens));
      const float* losses = finite_losses("loss");
      double sum = 0;
      for (size_t i = 0; i < B_ * T_; i++) sum += losses[i];
      result.loss += sum / tokens;
      AttentionObserver<S> observer;
      if (observe && micro == 0)
        observer = [&](int l, const S* dattention) {
          auto records = attention_records(k + 1, l, dattention);
          result.attention.insert(result.attention.begin(), records.begin(), records.end());
        };
      run_backward(observer);
    }
    rows_ = training_rows(k, std::nullopt);
    result.grad_norm = gradient_norm(gradients_.data(), gradients_.size());
    if (!std::isfinite(result.grad_norm))
      stop_at_first("gradient", parameter_arrays({tensors_.rbegin(), tensors_.rend()}, "", "", gradients_.data()));
    result.lr = learning_rate(options_, int(k));
    const OptimizerOptions optimizer = {result.lr, options_.beta1, options_.beta2, options_.weight_decay,
                                        options_.grad_clip};
    auto update = [&](auto... rounded) {
      update_parameters(tensors_, weights_.master(), gradients_.data(), m_.data(), v_.data(), optimizer, k,
                        result.grad_norm, rounded...);
    };
    if constexpr (Weights<S>::kCopied)
      update(weights_.stored());
    else
      update();
    check_updated(adamw_step(optimizer, k, result.grad_norm).grad_scale * result.grad_norm);
    return result;
  }

  // After `step` updates. Failure at the first loss that is not finite.
  Evaluation evaluate_val(uint64_t step, uint64_t limit) {
    at_step(step, step + 1);
    return evaluate_windows(data_.val, B_, T_, limit,
                            [&](const EvaluationBatch& batch, const int32_t* inputs, const int32_t* targets) {
                              rows_ = validation_rows(batch);
                              run_forward(inputs, targets, 0);
                              return finite_losses("validation loss");
                            });
  }

  // A few words from the model, to look at. Empty where tokens are not bytes.
  std::string sample() {
    if (data_.tokenizer != "bytes") return "";
    constexpr int kTokens = 240;
    SamplingOptions sampling;
    sampling.seed = options_.seed;
    auto tokens = generate<N, P>(config_, weights_.view(), a_, encode("\n"), kTokens, T_, sampling, [](int32_t) {});
    return decode(tokens);
  }

  // Starts a checkpoint. Its numbers are finite: every update looks at them.
  void save(uint64_t step, Saver& saver) {
    TrainerState state;
    state.step = step;
    state.tokens = step * tokens_per_update();
    state.seed = options_.seed;
    state.data_seed = options_.data_seed;
    state.data_sha256 = data_.sha256;
    state.options = options_to_json(options_);
    saver.save(weights_.master(), m_.data(), v_.data(), std::move(state), options_.keep);
  }

  uint64_t tokens_per_update() const { return uint64_t(B_) * T_ * options_.grad_accum; }
  uint64_t updates_per_epoch() const { return loader_.updates_per_epoch(); }

  // What stopped the run, for the metrics.
  const std::optional<nlohmann::ordered_json>& nonfinite() const { return nonfinite_; }

 private:
  // One record for every head of layer l.
  std::vector<nlohmann::ordered_json> attention_records(uint64_t step, int l, const S* dattention) {
    std::vector<float> qkv_room, gradient_room, theta_room, length_room, slopes_room;
    const size_t BT = B_ * T_, C = config_.C, NH = config_.NH;
    const float *theta = weights_.view().h[l].theta, *length_scale = weights_.view().length_scale;
    const auto heads = observe_attention<N>(
        backend::to_host(qkv_room, a_.h[l].qkv, BT * 3 * C), backend::to_host(gradient_room, dattention, BT * C),
        theta ? backend::to_host(theta_room, theta, N::params * NH) : nullptr,
        length_scale ? backend::to_host(length_room, length_scale, T_) : nullptr,
        a_.slopes ? backend::to_host(slopes_room, a_.slopes, NH) : nullptr, B_, T_, C, NH);
    std::vector<nlohmann::ordered_json> records;
    for (size_t h = 0; h < heads.size(); h++) records.push_back(heads[h].to_json(step, l, h));
    return records;
  }

  // --- forward and backward over rows_, with a look at every kernel's output where that is asked for ---

  void run_forward(const int32_t* tokens, const int32_t* targets, float scale) {
    const size_t B = rows_.begins.size(), T = rows_.length;
    if (checked_)
      observed_forward<N, P>(kernel_check(), config_, weights_.view(), a_, tokens, targets, B, T, scale);
    else
      forward<N, P>(config_, weights_.view(), a_, tokens, targets, B, T, scale);
  }

  void run_backward(const AttentionObserver<S>& observer) {
    if (checked_)
      observed_backward<N, P>(kernel_check(), config_, weights_.view(), dp_, a_, B_, T_, observer);
    else
      backward<N, P>(config_, weights_.view(), dp_, a_, B_, T_, observer);
  }

  // --- numbers that are not finite ---

  // What reports say of the numbers to come; `update`, the next to be done or the one at work, decides whether every
  // kernel is checked.
  void at_step(uint64_t step, uint64_t update) {
    step_ = step;
    checked_ = options_.check_from > 0 && update >= uint64_t(options_.check_from);
  }

  // Of update k: the rows of a micro-batch, or of all.
  TokenRows training_rows(uint64_t k, std::optional<int> micro) {
    TokenRows rows{"train", {}, T_, k / loader_.updates_per_epoch(), micro};
    const uint64_t begin = micro.value_or(0) * B_, end = micro ? begin + B_ : B_ * options_.grad_accum;
    for (uint64_t row = begin; row < end; row++) rows.begins.push_back(loader_.window(k, row) * T_);
    return rows;
  }

  TokenRows validation_rows(const EvaluationBatch& batch) const {
    TokenRows rows{"val", {}, batch.T, std::nullopt, std::nullopt};
    for (size_t row = 0; row < batch.B; row++) rows.begins.push_back(batch.begin + row * batch.T);
    return rows;
  }

  std::vector<NamedArray> arrays(bool training) const {
    return activation_arrays<S>(config_, kRowWords<N>, B_, T_, rows_.begins.size(), rows_.length, training,
                                activation_memory_.data());
  }

  // The losses of rows_.
  const float* finite_losses(const char* what) {
    const size_t n = rows_.begins.size() * rows_.length;
    const float* losses = backend::to_host(room_, a_.losses, n);
    if (!std::all_of(losses, losses + n, [](float loss) { return std::isfinite(loss); }))
      stop_at_first(what, arrays(false));
    return losses;
  }

  // What AdamW wrote. Means of finite gradients are finite, and so are those of their squares while these are below the
  // largest float, 3.4e38; so the moments need a look only behind a gradient whose norm, clipped, is enormous.
  void check_updated(double norm) {
    check_block("weight that adamw_update wrote", "", weights_.master());
    if (norm < 1e19 && !checked_) return;
    check_block("moment that adamw_update wrote", "exp_avg.", m_.data());
    check_block("moment that adamw_update wrote", "exp_avg_sq.", v_.data());
    if constexpr (Weights<S>::kCopied) check_block("rounded weight that adamw_update wrote", "", weights_.stored());
  }

  template <class Number>
  void check_block(const char* what, const char* prefix, const Number* block) {
    if (backend::first_nonfinite(block, weights_.size()) < weights_.size())
      stop_at_first(what, parameter_arrays(tensors_, prefix, "", block));
  }

  // What a run starts from.
  void require_finite(const Start& start) const {
    const std::string from = start.checkpoint.empty() ? "the initial model" : "checkpoint '" + start.checkpoint + "'";
    for (const auto& [prefix, block] :
         {std::pair("", weights_.master()), std::pair("exp_avg.", m_.data()), std::pair("exp_avg_sq.", v_.data())})
      if (const auto found = find_nonfinite<S>(parameter_arrays(tensors_, prefix, "", block)))
        throw Error(from + " holds " + value_text(found->value) + " in tensor " + found->array.name + " at index " +
                    std::to_string(found->index) + "; training must start from finite numbers");
  }

  // Stops at the first such number in what a kernel wrote, and names the kernel.
  KernelObserver kernel_check() {
    std::vector<NamedArray> known = arrays(true);
    for (NamedArray& gradient : parameter_arrays(tensors_, "", ".grad", gradients_.data()))
      known.push_back(std::move(gradient));
    return [this, search = OutputSearch<S>(std::move(known))](
               const char* kernel, std::span<const void* const> arguments, size_t written) mutable {
      if (const auto found = search(arguments, written)) stop(std::string("output of ") + kernel, *found);
    };
  }

  // One of the arrays is known to hold such a number.
  [[noreturn]] void stop_at_first(const std::string& what, const std::vector<NamedArray>& arrays) {
    stop(what, find_nonfinite<S>(arrays).value());
  }

  [[noreturn]] void stop(const std::string& what, const FoundNumber& found) {
    NonFinite report{step_, what, found.array.name, found.layer, found.array.shape, found.index, found.value,
                     rows_, {}};
    if (found.array.has_rows) report.row = coordinates(found.index, found.array.shape)[0];
    nonfinite_ = to_json(report);
    std::string text = sentence(report) + "; checkpoints in '" + options_.out +
                       "' are as they were, and a lower --lr or --grad-clip may help";
    if (!checked_)
      text += "; the kernel it comes from is found by: " + shell_word(options_.program) + " --resume --out " +
              shell_word(options_.out) + " --check-from " + std::to_string(std::max<uint64_t>(step_, 1));
    throw Failure(text);
  }

  TrainOptions options_;
  Config config_;
  const Dataset& data_;
  Loader loader_;
  std::vector<Tensor> tensors_;
  size_t B_, T_;
  Weights<S> weights_;
  backend::Memory gradients_, m_, v_, activation_memory_;
  Parameters<float> dp_;
  Activations<S> a_;
  std::vector<int32_t> inputs_, targets_;
  std::vector<float> room_;  // for losses

  // For reports: updates done, the one at work included, the rows at work, and whether every kernel is checked.
  uint64_t step_ = 0;
  TokenRows rows_;
  bool checked_ = false;
  std::optional<nlohmann::ordered_json> nonfinite_;
};
