// The loss, written as plainly as it can be. Contract: kernels/cross_entropy.h, for arrays of Real.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace reference {

template <class Real>
void cross_entropy_forward(Real* losses, Real* logits, const int32_t* targets, size_t BT, size_t V) {
  for (size_t i = 0; i < BT; i++) {
    Real* p = logits + i * V;

    // pass 1: the largest logit, subtracted from all only so that exp cannot overflow
    Real max = *std::max_element(p, p + V);

    // pass 2: log(sum_v exp(logit_v)) and the loss
    Real sum = 0;
    for (size_t v = 0; v < V; v++) sum += std::exp(p[v] - max);
    losses[i] = std::log(sum) + max - p[targets[i]];

    // pass 3: the probabilities, in the place of the logits
    for (size_t v = 0; v < V; v++) p[v] = std::exp(p[v] - max) / sum;
  }
}

// d/dlogit_v [log(sum_k exp(logit_k)) - logit_target] = p_v - [v = target]
template <class Real>
void cross_entropy_backward(Real* probabilities, const int32_t* targets, Real scale, size_t BT, size_t V) {
  for (size_t i = 0; i < BT; i++) {
    Real* p = probabilities + i * V;
    p[targets[i]] -= 1;
    for (size_t v = 0; v < V; v++) p[v] *= scale;
  }
}

}  // namespace reference
