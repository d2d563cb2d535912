// A whole GPT with its memory, for tests, and all normalizers as a table, so that a test can loop over them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/normalizer/normalizer.h"
#include "kernels/random.h"
#include "model/activations.h"
#include "model/backward.h"
#include "model/buffer.h"
#include "model/forward.h"
#include "model/parameters.h"
#include "train/optimizer.h"

inline std::vector<float> copy_of(const float* x, size_t n) { return {x, x + n}; }

struct Gpt;
struct Batch;

// A normalizer, and the model compiled for it.
struct NormalizerEntry {
  std::string name;
  int params, row_words;
  void (*forward)(Gpt&, const Batch&, const int32_t* targets, float scale);
  void (*backward)(Gpt&, const Batch&);
};

const std::vector<NormalizerEntry>& every_normalizer();

inline const NormalizerEntry& normalizer_named(const std::string& name) {
  for (const NormalizerEntry& normalizer : every_normalizer())
    if (normalizer.name == name) return normalizer;
  throw std::runtime_error("no normalizer is called " + name);
}

inline constexpr Position kEveryPosition[] = {Position::kLearned, Position::kRope, Position::kNone, Position::kAlibi};

// `config` with the fields that belong to the normalizer.
inline Config with_normalizer(Config config, const NormalizerEntry& normalizer) {
  config.normalizer = normalizer.name;
  config.normalizer_params = normalizer.params;
  return config;
}

struct Batch {
  size_t B, T;
  std::vector<int32_t> tokens, targets;  // (B,T)
};

// Tokens and targets drawn independently from 0 .. V-1.
inline Batch random_batch(size_t B, size_t T, int V, uint32_t seed) {
  Batch batch{B, T, std::vector<int32_t>(B * T), std::vector<int32_t>(B * T)};
  for (size_t i = 0; i < B * T; i++) {
    auto x = Philox{{seed, 0}}(i);
    batch.tokens[i] = int32_t(x[0] % uint32_t(V));
    batch.targets[i] = int32_t(x[1] % uint32_t(V));
  }
  return batch;
}

// Parameters, gradients and activations of a GPT for up to B x T tokens; parameters at their initial values of seed 1.
struct Gpt {
  const NormalizerEntry& normalizer;
  Config config;
  std::vector<Tensor> tensors;
  Buffer parameters, gradients, memory;
  Parameters<> p, dp;
  Activations<> a;

  Gpt(const NormalizerEntry& n, const Config& shape, size_t B, size_t T)
      : normalizer(n),
        config(with_normalizer(shape, n)),
        tensors(parameter_tensors(config)),
        parameters(parameter_floats(config)),
        gradients(parameter_floats(config)),
        memory(activation_floats(config, n.row_words, B, T, true)),
        p(view_parameters(config, parameters.data())),
        dp(view_parameters(config, gradients.data())),
        a(view_activations(config, n.row_words, B, T, true, memory.data())) {
    init_parameters(config, parameters.data(), 1, initial_scale(config.T));
  }

  // The mean loss in nats, summed in double. scale: of its sum's gradient, see forward.
  double loss(const Batch& batch, float scale = 0) {
    normalizer.forward(*this, batch, batch.targets.data(), scale);
    double sum = 0;
    for (size_t i = 0; i < batch.B * batch.T; i++) sum += a.losses[i];
    return sum / double(batch.B * batch.T);
  }

  // (B,T,V), in a copy.
  std::vector<float> logits(const Batch& batch) {
    normalizer.forward(*this, batch, nullptr, 0);
    return copy_of(a.logits, batch.B * batch.T * size_t(config.V));
  }

  // Adds weight * d(mean loss)/d(parameters) to the gradients and returns the mean loss.
  double add_gradient(const Batch& batch, float weight = 1) {
    double mean = loss(batch, weight / float(batch.B * batch.T));
    normalizer.backward(*this, batch);
    return mean;
  }

  float* parameter(const Tensor& tensor) { return parameters.data() + tensor.offset; }
  float* gradient(const Tensor& tensor) { return gradients.data() + tensor.offset; }
};

template <class N, class P = fp32>
NormalizerEntry normalizer_entry(const char* name) {
  return {name, N::params, int(kRowWords<N>),
          [](Gpt& gpt, const Batch& batch, const int32_t* targets, float scale) {
            forward<N, P>(gpt.config, gpt.p, gpt.a, batch.tokens.data(), targets, batch.B, batch.T, scale);
          },
          [](Gpt& gpt, const Batch& batch) { backward<N, P>(gpt.config, gpt.p, gpt.dp, gpt.a, batch.B, batch.T); }};
}

inline const std::vector<NormalizerEntry>& every_normalizer() {
#define ATTNORM_ENTRY(name, ...) normalizer_entry<__VA_ARGS__>(#name),
  static const std::vector<NormalizerEntry> entries = {EVERY_NORMALIZER(ATTNORM_ENTRY)};
#undef ATTNORM_ENTRY
  return entries;
}

// AdamW's memory, and its updates with the global norm of the gradient clipped. betas 0.9 and 0.95.
struct AdamWMemory {
  Buffer m, v;
  int updates = 0;

  explicit AdamWMemory(const Gpt& gpt) : m(gpt.parameters.size()), v(gpt.parameters.size()) {}

  // Uses the gradients up, and returns their norm before clipping.
  double update(Gpt& gpt, double lr, double decay, double clip) {
    double norm = gradient_norm(gpt.gradients.data(), gpt.gradients.size());
    update_parameters(gpt.tensors, gpt.parameters.data(), gpt.gradients.data(), m.data(), v.data(),
                      {lr, 0.9, 0.95, decay, clip}, updates++, norm);
    return norm;
  }
};
