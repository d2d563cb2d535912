// AdamW: Adam with decoupled weight decay, one update of a model's parameters.
//
//   g = grad_scale grad
//   param <- param (1 - lr decay)
//   m <- beta1 m + (1 - beta1) g,   v <- beta2 v + (1 - beta2) g^2
//   param <- param - lr (m / (1 - beta1^k)) / (sqrt(v / (1 - beta2^k)) + eps),   k = 1, 2, ... the number of the update
//
// Source: Loshchilov and Hutter 2017, arXiv 1711.05101, algorithm 2, with the decay scaled by lr as in PyTorch.
// cost: reads and writes 4 numbers a parameter
#pragma once

#include <cstddef>
#include <vector>

#include "kernels/precision.h"

struct AdamW {
  float lr, beta1, beta2;
  float correction1, correction2;  // 1 - beta1^k, 1 - beta2^k
  float grad_scale;                // the clipping factor, 1 where the norm is within bounds
};
inline constexpr float kAdamEps = 1e-8f;

// A tensor in the four blocks param, grad, m and v: where it starts, and how long it is, in floats.
struct AdamWTensor {
  size_t offset, size;
  float decay;
};

namespace cpu {

// Updates the tensors (in the order of their offsets) in param, m and v, and leaves their grad at zero, ready to
// accumulate again.
void adamw_update(float* param, float* grad, float* m, float* v, const std::vector<AdamWTensor>& tensors,
                  const AdamW& step);

}  // namespace cpu

namespace cuda {

// The same. Where the model is stored in bf16, `stored` is its copy of the block param: the new parameters, rounded, are
// written there too.
void adamw_update(float* param, float* grad, float* m, float* v, const std::vector<AdamWTensor>& tensors,
                  const AdamW& step, bf16* stored = nullptr);

// Overwrites stored (n) with param (n), rounded.
void round_parameters(bf16* stored, const float* param, size_t n);

}  // namespace cuda
