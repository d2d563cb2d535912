// The memory of a training run, and one update at a time.
#pragma once

#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/error.h"
#include "data/loader.h"
#include "data/tokenizer.h"
#include "kernels/check.h"
#include "kernels/cpu/parallel.h"
#include "kernels/normalizer/normalizer.h"
#include "model/backend.h"
#include "model/backward.h"
#include "model/buffer.h"
#include "model/forward.h"
#include "train/attention_record.h"
#include "train/checkpoint.h"
#include "train/checkpoint_json.h"
#include "train/evaluation.h"
#include "train/generate.h"
#include "train/memory_plan.h"
#include "train/optimizer.h"
#include "train/schedule.h"
#include "train/start.h"

template <class N, class P = fp32>
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
    const Workspace scratch = workspace(config_, B_, T_);
    backend::reserve_scratch(scratch.each_thread, scratch.shared);
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
    std::vector<nlohmann::ordered_json> attention;  // records, where they were asked for
  };

  // Update k (from 0): forward and backward over all micro-batches, clipping, AdamW. Failure at the first number that
  // is not finite.
  Update update(uint64_t k, bool observe) {
    const double tokens = double(B_) * T_ * options_.grad_accum;
    Update result{};
    for (int micro = 0; micro < options_.grad_accum; micro++) {
      loader_.load(k, micro, inputs_.data(), targets_.data());
      forward<N, P>(config_, p_, a_, inputs_.data(), targets_.data(), B_, T_, float(1 / tokens));
      double sum = 0;
      for (size_t i = 0; i < B_ * T_; i++) sum += a_.losses[i];
      if (!std::isfinite(sum)) stop_nonfinite(k + 1, "loss", forward_tensors(), activation_memory_.data());
      result.loss += sum / tokens;
      AttentionObserver observer;
      if (observe && micro == 0)
        observer = [&](int l, const float* dattention) {
          auto heads =
              observe_attention<N>(a_.h[l].qkv, dattention, p_.h[l].theta, a_.slopes, B_, T_, config_.C, config_.NH);
          std::vector<nlohmann::ordered_json> records;
          for (size_t h = 0; h < heads.size(); h++) records.push_back(heads[h].to_json(k + 1, l, h));
          result.attention.insert(result.attention.begin(), records.begin(), records.end());
        };
      backward<N, P>(config_, p_, dp_, a_, inputs_.data(), B_, T_, observer);
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
    auto evaluation = evaluate<N, P>(config_, p_, a_, data_.val, B_, T_, limit);
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
    auto tokens = generate<N, P>(config_, p_, a_, encode("\n"), kTokens, T_, sampling, [](int32_t) {});
    return decode(tokens);
  }

  // Writes a checkpoint; Failure instead where a parameter is not finite, so that the last good one stays.
  std::string save(uint64_t step) {
    for (const Buffer* block : {&parameters_, &m_, &v_})
      if (backend::first_nonfinite(block->data(), block->size()) < block->size())
        stop_nonfinite(step, block == &parameters_ ? "updated model" : "state of AdamW", tensors_, block->data());
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
  const std::optional<nlohmann::ordered_json>& nonfinite() const { return nonfinite_; }

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
  Buffer parameters_, gradients_, m_, v_, activation_memory_;
  Parameters p_, dp_;
  Activations a_;
  std::vector<int32_t> inputs_, targets_;
  std::optional<nlohmann::ordered_json> nonfinite_;
};
