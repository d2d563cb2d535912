// What the forward leaves for the backward, and the gradients that flow between layers. Everything lies in one block
// whose size is known before it is allocated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "model/config.h"

// S: what is stored in the precision of the model (Storage of kernels/precision.h); statistics are fp32.
template <class S = float>
struct LayerActivations {
  S* stream;                     // (B,T,C)    residual stream before the layer
  S* ln_1;                       // (B,T,C)    LayerNorm of the stream
  float *ln_1_mean, *ln_1_rstd;  // (B,T)
  S* qkv;                        // (B,T,3C)   queries, keys, values; rotated in place under RoPE
  float* rows;                   // attention_row_floats(...): the normalizer's finished rows
  S* attention;                  // (B,T,C)    sum_j a_j v_j
  S* stream_mid;                 // (B,T,C)    residual stream after attention
  S* ln_2;                       // (B,T,C)
  float *ln_2_mean, *ln_2_rstd;  // (B,T)
  S* fc;                         // (B,T,4C)   before GELU
  S* gelu;                       // (B,T,4C)
};

template <class S = float>
struct Activations {
  const int32_t* tokens;  // (B,T)  the input, where kernels read it
  std::vector<LayerActivations<S>> h;
  S* stream;                     // (B,T,C)  residual stream after the last layer
  S* ln_f;                       // (B,T,C)
  float *ln_f_mean, *ln_f_rstd;  // (B,T)
  S* logits;                     // (B,T,V)  overwritten by their gradients where there will be a backward
  float* losses;                 // (B,T)
  S* branch;                     // (B,T,C)  output of a branch before it is added to the stream; reused by every layer

  // Gradients, only for training; reused by every layer.
  S* dstream;  // (B,T,C)   of the residual stream; every branch adds to it
  S* d_c;      // (B,T,C)
  S* d_qkv;    // (B,T,3C)
  S* d_fc;     // (B,T,4C)

  // Constants.
  float* rope;    // (T, 2, HS/2) cos and sin; null without RoPE
  float* slopes;  // (NH) ALiBi's; null without

  // Room for copies of tokens and targets; null where kernels read the host's memory.
  int32_t *token_room, *target_room;  // (B,T)
};

struct ActivationTensor {
  std::string name;
  size_t offset;  // in floats, from the start of the block
  size_t size;    // elements
  bool stored;    // of S, otherwise of four bytes each
};

// All of the above in the order in which the forward writes them, then the backward. row_words: kRowWords<N>.
template <class S = float>
std::vector<ActivationTensor> activation_tensors(const Config& config, int row_words, size_t B, size_t T,
                                                 bool training);

// Length in floats of a block that holds them all.
template <class S = float>
size_t activation_floats(const Config& config, int row_words, size_t B, size_t T, bool training);

// Pointers into such a block of the backend's memory, and its constants (rope, slopes) filled in.
template <class S = float>
Activations<S> view_activations(const Config& config, int row_words, size_t B, size_t T, bool training, float* block);
