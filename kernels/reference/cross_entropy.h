// The loss, written as plainly as it can be. Contract: kernels/cross_entropy.h, for arrays of Real.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace reference {

// log(sum_v exp(x_v)): the largest x is taken out of the sum only so that exp cannot overflow.
template <class Real>
Real log_sum_exp(const Real* x, size_t V) {
  Real max = *std::max_element(x, x + V), sum = 0;
  for (size_t v = 0; v < V; v++) sum += std::exp(x[v] - max);
  return std::log(sum) + max;
}

template <class Real>
void cross_entropy_forward(Real* losses, const Real* logits, const int32_t* targets, size_t BT, size_t V) {
  for (size_t i = 0; i < BT; i++) losses[i] = log_sum_exp(logits + i * V, V) - logits[i * V + targets[i]];
}

// d/dx_v [log(sum_k exp(x_k)) - x_target] = exp(x_v) / sum_k exp(x_k) - [v = target]
template <class Real>
void cross_entropy_forward_backward(Real* losses, Real* logits, const int32_t* targets, Real scale, size_t BT,
                                    size_t V) {
  cross_entropy_forward(losses, logits, targets, BT, V);
  for (size_t i = 0; i < BT; i++) {
    Real *x = logits + i * V, log_sum = log_sum_exp(x, V);
    for (size_t v = 0; v < V; v++) x[v] = scale * std::exp(x[v] - log_sum);
    x[targets[i]] -= scale;
  }
}

}  // namespace reference
