// The memory of a training run, and one update at a time.
#pragma once

#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
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
#include "model/weights.h"
#include "train/attention_record.h"
#include "train/checkpoint.h"
#include "train/evaluation.h"
#include "train/generate.h"
#include "train/memory_plan.h"
#include "train/optimizer.h"
#include "train/saver.h"
#include "train/schedule.h"
#include "train/start.h"

template <class N, class P = fp32>
class Trainer {
  using S = backend::Storage<P>;

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
    weights_ = Weights<S>(config_);
    for (backend::Memory* block : {&gradients_, &m_, &v_}) *block = backend::Memory(weights_.size());
    activation_memory_ = backend::Memory(activation_floats<S>(config_, kRowWords<N>, B_, T_, true));
    dp_ = view_parameters(config_, gradients_.data());
    a_ = view_activations<S>(config_, kRowWords<N>, B_, T_, true, activation_memory_.data());
    const Workspace scratch = workspace(config_, B_, T_);
    backend::reserve_scratch(scratch.each_thread, scratch.shared);
    inputs_.resize(B_ * T_);
    targets_.resize(B_ * T_);

    const double scale = options_.scale_init > 0 ? options_.scale_init : initial_scale(options_.seq_len);
    const LoadMode mode = start.resumed ? LoadMode::kExact : LoadMode::kAdapt;
    std::vector<std::string> lines;
    weights_.fill([&](float* parameters) {
      init_parameters(config_, parameters, options_.seed, scale);
      if (!start.checkpoint.empty()) lines = load_parameters(start.checkpoint, config_, parameters, mode);
    });
    if (start.with_optimizer)
      m_.fill([&](float* m) { v_.fill([&](float* v) { load_optimizer(start.checkpoint, config_, m, v, mode); }); });
    return lines;
  }

  struct Update {
    double loss, lr, grad_norm;
    std::vector<nlohmann::ordered_json> attention;  // records, where they were asked for
  };

  // Update k (from 0): forward and backward over all micro-batches, clipping, AdamW. Failure at the first number that
  // is not finite.
  Update update(uint64_t k, bool observe) {
    const double tokens = double(B_) * T_ * options_.grad_accum;
    Update result{};
    for (int micro = 0; micro < options_.grad_accum; micro++) {
      loader_.load(k, micro, inputs_.data(), targets_.data());
      forward<N, P>(config_, weights_.view(), a_, inputs_.data(), targets_.data(), B_, T_, float(1 / tokens));
      const float* losses = backend::to_host(room_, a_.losses, B_ * T_);
      double sum = 0;
      for (size_t i = 0; i < B_ * T_; i++) sum += losses[i];
      if (!std::isfinite(sum)) stop_forward(k + 1, "loss");
      result.loss += sum / tokens;
      AttentionObserver<S> observer;
      if (observe && micro == 0)
        observer = [&](int l, const S* dattention) {
          auto records = attention_records(k + 1, l, dattention);
          result.attention.insert(result.attention.begin(), records.begin(), records.end());
        };
      backward<N, P>(config_, weights_.view(), dp_, a_, B_, T_, observer);
    }
    result.grad_norm = gradient_norm(gradients_.data(), gradients_.size());
    if (!std::isfinite(result.grad_norm))
      stop_parameters(k + 1, "gradient", {tensors_.rbegin(), tensors_.rend()}, gradients_.data());
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
    return result;
  }

  // After `step` updates. Failure at a loss that is not finite.
  Evaluation evaluate_val(uint64_t step, uint64_t limit) {
    auto evaluation = evaluate<N, P>(config_, weights_.view(), a_, data_.val, B_, T_, limit);
    if (!std::isfinite(evaluation.nats)) stop_forward(step, "validation loss");
    return evaluation;
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

  // Starts a checkpoint; Failure instead where a parameter is not finite, so that the last good one stays.
  void save(uint64_t step, Saver& saver) {
    for (const float* block : {weights_.master(), m_.data(), v_.data()})
      if (backend::first_nonfinite(block, weights_.size()) < weights_.size())
        stop_parameters(step, block == weights_.master() ? "updated model" : "state of AdamW", tensors_, block);
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
    std::vector<float> qkv_room, gradient_room, theta_room, slopes_room;
    const size_t BT = B_ * T_, C = config_.C, NH = config_.NH;
    const float* theta = weights_.view().h[l].theta;
    const auto heads = observe_attention<N>(
        backend::to_host(qkv_room, a_.h[l].qkv, BT * 3 * C), backend::to_host(gradient_room, dattention, BT * C),
        theta ? backend::to_host(theta_room, theta, N::params * NH) : nullptr,
        a_.slopes ? backend::to_host(slopes_room, a_.slopes, NH) : nullptr, B_, T_, C, NH);
    std::vector<nlohmann::ordered_json> records;
    for (size_t h = 0; h < heads.size(); h++) records.push_back(heads[h].to_json(step, l, h));
    return records;
  }

  // In an array of the forward; size if there is none.
  size_t first_nonfinite(const ActivationTensor& tensor) const {
    const float* x = activation_memory_.data() + tensor.offset;
    return tensor.stored ? backend::first_nonfinite(reinterpret_cast<const S*>(x), tensor.size)
                         : backend::first_nonfinite(x, tensor.size);
  }

  // Names the first array of the forward, in its order, that holds such a number, and where; throws. Not the tokens, nor
  // the normalizer's rows: they may hold infinities by design.
  [[noreturn]] void stop_forward(uint64_t step, const std::string& what) {
    auto tensors = activation_tensors<S>(config_, kRowWords<N>, B_, T_, false);
    std::erase_if(tensors, [](const ActivationTensor& tensor) {
      return tensor.name.ends_with(".attn.rows") || tensor.name == "tokens" || tensor.name == "targets";
    });
    stop_nonfinite(step, what, tensors, [&](const ActivationTensor& tensor) { return first_nonfinite(tensor); });
  }

  // The same for tensors of a block laid out as the parameters.
  [[noreturn]] void stop_parameters(uint64_t step, const std::string& what, const std::vector<Tensor>& tensors,
                                    const float* block) {
    stop_nonfinite(step, what, tensors,
                   [&](const Tensor& tensor) { return backend::first_nonfinite(block + tensor.offset, tensor.size); });
  }

  template <class List, class First>
  [[noreturn]] void stop_nonfinite(uint64_t step, const std::string& what, const List& list, First first) {
    std::string tensor = what, place;
    size_t index = 0;
    for (const auto& candidate : list) {
      index = first(candidate);
      if (index == candidate.size) continue;
      tensor = candidate.name;
      place = " at index " + std::to_string(index);
      break;
    }
    nonfinite_ = nlohmann::ordered_json{
        {"event", "nonfinite"}, {"step", step}, {"what", what}, {"tensor", tensor}, {"index", index}};
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
  Weights<S> weights_;
  backend::Memory gradients_, m_, v_, activation_memory_;
  Parameters<float> dp_;
  Activations<S> a_;
  std::vector<int32_t> inputs_, targets_;
  std::vector<float> room_;  // for losses
  std::optional<nlohmann::ordered_json> nonfinite_;
};
