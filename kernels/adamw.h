// AdamW: Adam with decoupled weight decay, one update of n parameters.
//
//   g = grad_scale grad
//   param <- param (1 - lr decay)
//   m <- beta1 m + (1 - beta1) g,   v <- beta2 v + (1 - beta2) g^2
//   param <- param - lr (m / (1 - beta1^k)) / (sqrt(v / (1 - beta2^k)) + eps),   k = 1, 2, ... the number of the update
//
// Source: Loshchilov and Hutter 2017, arXiv 1711.05101, algorithm 2, with the decay scaled by lr as in PyTorch.
#pragma once

#include <cstddef>

struct AdamW {
  float lr, beta1, beta2, decay;
  float correction1, correction2;  // 1 - beta1^k, 1 - beta2^k
  float grad_scale;                // the clipping factor, 1 where the norm is within bounds
};
inline constexpr float kAdamEps = 1e-8f;

namespace cpu {

// Updates param, m and v in place; leaves grad at zero, ready to accumulate again.
void adamw_update(float* param, float* grad, float* m, float* v, size_t n, const AdamW& step);

}  // namespace cpu
