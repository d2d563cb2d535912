// The learned tensors of a GPT: one list of names, shapes and initial values, and views of them in one block of memory.
// The same views serve for parameters, for their gradients and for AdamW's moments.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "model/config.h"

// S: what matrices are stored in (Storage of kernels/precision.h); vectors are fp32, and so are all gradients.
template <class S = float>
struct LayerParameters {
  float *ln_1_weight, *ln_1_bias;  // (C), (C)
  S* qkv_weight;                   // (C,3C)
  float* qkv_bias;                 // (3C)
  float* theta;      // (normalizer_params, NH): scale, then bias; null where the normalizer learns nothing
  S* proj_weight;    // (C,C)
  float* proj_bias;  // (C)
  float *ln_2_weight, *ln_2_bias;  // (C), (C)
  S* fc_weight;                    // (C,4C)
  float* fc_bias;                  // (4C)
  S* fc_proj_weight;               // (4C,C)
  float* fc_proj_bias;             // (C)
};

template <class S = float>
struct Parameters {
  S* wte;               // (V,C)
  S* wpe;               // (T,C), null without learned positions
  float* length_scale;  // (T) of all layers; null where the normalizer learns nothing for each length
  std::vector<LayerParameters<S>> h;
  float *ln_f_weight, *ln_f_bias;  // (C), (C)
  S* lm_head;                      // (V,C); wte itself where the head is tied
};

enum class Init {
  kNormal,    // mean 0, standard deviation 0.02
  kResidual,  // 0.02 / sqrt(2L): the last projection before each of the 2L additions to the residual stream
  kZero,
  kOne,
  kScale,  // the normalizer's first scale, see initial_scale
};

struct Tensor {
  std::string name;  // as in the published GPT-2 checkpoints, without the prefix `transformer.`
  std::vector<size_t> shape;
  size_t offset;  // in floats, from the start of the block
  size_t size;    // in floats
  Init init;
  bool continues = false;  // lies right behind the one before, in one array with it

  bool decays() const { return shape.size() >= 2; }  // weight decay acts on matrices alone
};

// All learned tensors, in the order of the forward.
std::vector<Tensor> parameter_tensors(const Config& config);

// Length in floats of a block that holds them all, alignment included; and the number of learned numbers in it.
size_t parameter_floats(const Config& config);
size_t parameter_count(const Config& config);

// Operations of one token in training, at sequence length T: the matrix products and attention's causal half, a
// multiply-add as two; forward, and twice that for the backward.
double flops_per_token(const Config& config, int T);

// Pointers into such a block.
Parameters<float> view_parameters(const Config& config, float* block);

// The same where matrices are stored in S: they lie in `matrices`, a block of as many elements; vectors in `block`.
template <class S>
Parameters<S> view_parameters(const Config& config, S* matrices, float* block);

// Overwrites the block with initial values. Every number depends on the seed, the name of its tensor and its index
// there alone, so that another normalizer, an untied head or another position encoding changes no other tensor: Philox
// with the key (low half of the seed, FNV-1a of the name) and the counter (index / 2, high half of the seed).
//   scale: initial value of the normalizer's learned scale
void init_parameters(const Config& config, float* block, unsigned long long seed, double scale);

// Multiplies every number by 1 + noise or 1 - noise, in double, rounded to fp32; noise 0 changes no bit. Which of the two
// depends on the seed, the name of the tensor and the index i there alone: bit i % 128 of what Philox with the key (low
// half of the seed, FNV-1a of "noise." + name) draws for the counter (i / 128, high half of the seed); set for 1 + noise.
void perturb_parameters(const Config& config, float* block, unsigned long long seed, double noise);

// Makes the normalizer's mean sharpness equal softmax's 1. For s ln n of SSMax: 1 / mean_{n = 1 .. T} ln n, 1 where that
// mean is 0. With a learned scale for each length in place of ln n: 1, for those start at 1.
double initial_scale(int T, bool length_scale);
