// A GPT with the memory to train it, for timing whole updates with any normalizer and precision.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/activations.h"
#include "model/buffer.h"
#include "model/config.h"
#include "model/parameters.h"
#include "tests/bench.h"
#include "tests/bench_profile.h"

class BenchModel;

// The model compiled for one normalizer and precision.
struct Variant {
  std::string normalizer, precision;
  int params;
  bool length_scale;
  int row_words;
  void (*forward)(BenchModel&);
  void (*backward)(BenchModel&);
};

// Those of these normalizers and precisions, each in the order asked for.
std::vector<Variant> variants_of(const std::vector<std::string>& normalizers,
                                 const std::vector<std::string>& precisions);

// A preset of `train` with a batch of its own.
struct ModelShape {
  std::string name;    // "gpt2-4x64"
  std::string preset;  // of `train`
  size_t B, T;
};
std::vector<ModelShape> model_shapes(Extent extent);

// The preset's shape. Bytes are its tokens, except for GPT-2, whose vocabulary has 50,257.
Config config_of(const std::string& preset);

// Flop of an update, as they are usually counted. Matrices: 6 for each of their weights (the head's included) and token.
// Attention, causal: 2 products forward and 4 backward over the T (T + 1) / 2 visible pairs of each head, though the
// backward executes a fifth.
double linear_flop(const Config& config, size_t B, size_t T);
double attention_flop(const Config& config, size_t B, size_t T);

class BenchModel {
 public:
  // For any of these variants, in the same memory: it has room for the learned scalars and rows of all of them.
  BenchModel(const Config& config, size_t B, size_t T, const std::vector<Variant>& variants);

  // One update on random tokens: forward, backward, gradient norm, AdamW. The learning rate is so small that the model
  // stays where it is.
  void step(const Variant& variant);

  // The same with softmax, by parts.
  Profile profile(const std::string& precision);

  // Mean loss of the last update, in nats: ln V for an untrained model.
  double loss() const;
  size_t planned_bytes(int threads) const;

  Config config;
  size_t B, T;
  Parameters<> p, dp;
  Activations<> a;
  std::vector<int32_t> tokens, targets;

 private:
  void update();

  int row_words_;
  std::vector<Tensor> tensors_;
  Buffer parameters_, gradients_, m_, v_, activations_;
  uint64_t updates_ = 0;
};

// Sets what a record says of an update whose time it holds already: model, B, T, normalizer, precision, tokens_per_s.
void set_step(nlohmann::ordered_json& record, const std::string& model_name, const Variant& variant,
              const BenchModel& model);

// Sets gflops and roof_fraction, for the matrices alone, and gflops_with_attention and roof_fraction_with_attention.
void set_roof(nlohmann::ordered_json& record, double linear, double attention, double roof_gflops);

// Lets peak_memory_bytes() start anew, where Linux allows it.
void forget_peak_memory();
