// A whole GPT with its memory, for tests, and all normalizers as a table, so that a test can loop over them. Its
// backend and precision: tests/device_vector.h.
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
#include "model/forward.h"
#include "model/parameters.h"
#include "tests/device_vector.h"
#include "train/optimizer.h"

inline std::vector<float> copy_of(const float* x, size_t n) { return {x, x + n}; }

// n numbers that kernels wrote, wherever they lie.
template <class T>
std::vector<float> read(const T* x, size_t n) {
  std::vector<float> room;
  const float* found = backend::to_host(room, x, n);
  return {found, found + n};
}

// A zeroed block of floats that kernels and the test reach.
using Block = std::conditional_t<backend::kOnHost, Buffer, DeviceVector<float>>;

// Where kernels find matrices: among the parameters, or in bf16 in a rounded copy of them, which round_matrices makes.
inline float* matrices(DeviceVector<float>&, Block& parameters) { return parameters.data(); }
inline bf16* matrices(DeviceVector<bf16>& rounded, Block&) { return rounded.data(); }
inline void round_matrices(DeviceVector<float>&, const Block&) {}
inline void round_matrices(DeviceVector<bf16>& rounded, const Block& parameters) {
  cuda::round_parameters(rounded.data(), parameters.data(), parameters.size());
}

struct Gpt;
struct Batch;

// A normalizer, and the model compiled for it.
struct NormalizerEntry {
  std::string name;
  int params;
  bool length_scale;
  int row_words;
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
  config.length_scale = normalizer.length_scale;
  return config;
}

// Odd sizes, several blocks of queries: T no multiple of a block, C and V no multiples of a SIMD width.
inline Config odd_config() {
  Config config;
  config.L = 2;
  config.NH = 3;
  config.C = 24;
  config.T = 37;
  config.V = 29;
  return config;
}

inline Config small_config() {
  Config config;
  config.L = 2;
  config.NH = 2;
  config.C = 32;
  config.T = 32;
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
// A test writes and reads parameters and gradients as it likes, and activations through read().
struct Gpt {
  const NormalizerEntry& normalizer;
  Config config;
  std::vector<Tensor> tensors;
  Block parameters, gradients;
  DeviceVector<S> rounded;  // copy of the parameters; empty in fp32
  backend::Memory memory;
  Parameters<S> p;
  Parameters<float> dp;
  Activations<S> a;

  Gpt(const NormalizerEntry& n, const Config& shape, size_t B, size_t T)
      : normalizer(n),
        config(with_normalizer(shape, n)),
        tensors(parameter_tensors(config)),
        parameters(parameter_floats(config)),
        gradients(parameter_floats(config)),
        rounded(kStoredExactly ? 0 : parameters.size()),
        memory(activation_floats<S>(config, n.row_words, B, T, true)),
        p(view_parameters<S>(config, matrices(rounded, parameters), parameters.data())),
        dp(view_parameters(config, gradients.data())),
        a(view_activations<S>(config, n.row_words, B, T, true, memory.data())) {
    init_parameters(config, parameters.data(), 1, initial_scale(config.T, config.length_scale));
  }

  // After which activations can be read. targets may be null; scale: see forward.
  void forward(const Batch& batch, const int32_t* targets, float scale = 0) {
    round_matrices(rounded, parameters);
    normalizer.forward(*this, batch, targets, scale);
    wait_for_kernels();
  }

  // The mean loss in nats, summed in double. scale: of its sum's gradient, see forward.
  double loss(const Batch& batch, float scale = 0) {
    forward(batch, batch.targets.data(), scale);
    double sum = 0;
    for (float loss : read(a.losses, batch.B * batch.T)) sum += loss;
    return sum / double(batch.B * batch.T);
  }

  // (B,T,V)
  std::vector<float> logits(const Batch& batch) {
    forward(batch, nullptr);
    return read(a.logits, batch.B * batch.T * size_t(config.V));
  }

  // Adds weight * d(mean loss)/d(parameters) to the gradients and returns the mean loss.
  double add_gradient(const Batch& batch, float weight = 1) {
    double mean = loss(batch, weight / float(batch.B * batch.T));
    normalizer.backward(*this, batch);
    wait_for_kernels();
    return mean;
  }

  float* parameter(const Tensor& tensor) { return parameters.data() + tensor.offset; }
  float* gradient(const Tensor& tensor) { return gradients.data() + tensor.offset; }
};

template <class N, class P = ::P>
NormalizerEntry normalizer_entry(const char* name) {
  return {name,
          N::params,
          N::length_scale,
          int(kRowWords<N>),
          [](Gpt& gpt, const Batch& batch, const int32_t* targets, float scale) {
            ::forward<N, P>(gpt.config, gpt.p, gpt.a, batch.tokens.data(), targets, batch.B, batch.T, scale);
          },
          [](Gpt& gpt, const Batch& batch) { ::backward<N, P>(gpt.config, gpt.p, gpt.dp, gpt.a, batch.B, batch.T); }};
}

inline const std::vector<NormalizerEntry>& every_normalizer() {
#define ATTNORM_ENTRY(name, ...) normalizer_entry<__VA_ARGS__>(#name),
  static const std::vector<NormalizerEntry> entries = {EVERY_NORMALIZER(ATTNORM_ENTRY)};
#undef ATTNORM_ENTRY
  return entries;
}

// AdamW's memory, and its updates with the global norm of the gradient clipped. betas 0.9 and 0.95.
struct AdamWMemory {
  Block m, v;
  int updates = 0;

  explicit AdamWMemory(const Gpt& gpt) : m(gpt.parameters.size()), v(gpt.parameters.size()) {}

  // Uses the gradients up, and returns their norm before clipping.
  double update(Gpt& gpt, double lr, double decay, double clip) {
    double norm = gradient_norm(gpt.gradients.data(), gpt.gradients.size());
    update_parameters(gpt.tensors, gpt.parameters.data(), gpt.gradients.data(), m.data(), v.data(),
                      {lr, 0.9, 0.95, decay, clip}, updates++, norm);
    wait_for_kernels();
    return norm;
  }
};
