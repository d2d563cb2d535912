// What the forward leaves for the backward, and the gradients that flow between layers. Everything lies in one block
// whose size is known before it is allocated.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "model/config.h"

struct LayerActivations {
  float* stream;                 // (B,T,C)    residual stream before the layer
  float* ln_1;                   // (B,T,C)    LayerNorm of the stream
  float *ln_1_mean, *ln_1_rstd;  // (B,T)
  float* qkv;                    // (B,T,3C)   queries, keys, values; rotated in place under RoPE
  float* rows;                   // attention_row_floats(...): the normalizer's finished rows
  float* attention;              // (B,T,C)    sum_j a_j v_j
  float* stream_mid;             // (B,T,C)    residual stream after attention
  float* ln_2;                   // (B,T,C)
  float *ln_2_mean, *ln_2_rstd;  // (B,T)
  float* fc;                     // (B,T,4C)   before GELU
  float* gelu;                   // (B,T,4C)
};

struct Activations {
  std::vector<LayerActivations> h;
  float* stream;                 // (B,T,C)  residual stream after the last layer
  float* ln_f;                   // (B,T,C)
  float *ln_f_mean, *ln_f_rstd;  // (B,T)
  float* logits;                 // (B,T,V)  overwritten by their gradients where there will be a backward
  float* losses;                 // (B,T)
  float* branch;                 // (B,T,C)  output of a branch before it is added to the stream; reused by every layer

  // Gradients, only for training; reused by every layer.
  float* dstream;  // (B,T,C)   of the residual stream; every branch adds to it
  float* d_c;      // (B,T,C)
  float* d_qkv;    // (B,T,3C)
  float* d_fc;     // (B,T,4C)

  // Constants.
  float* rope;    // (T, 2, HS/2) cos and sin; null without RoPE
  float* slopes;  // (NH) ALiBi's; null without
};

struct ActivationTensor {
  std::string name;
  size_t offset, size;  // in floats
};

// All of the above in the order in which the forward writes them, then the backward. row_words: kRowWords<N>.
std::vector<ActivationTensor> activation_tensors(const Config& config, int row_words, size_t B, size_t T,
                                                 bool training);

// Length in floats of a block that holds them all.
size_t activation_floats(const Config& config, int row_words, size_t B, size_t T, bool training);

// Pointers into such a block, and its constants (rope, slopes) filled in.
Activations view_activations(const Config& config, int row_words, size_t B, size_t T, bool training, float* block);
