// The loss: softmax over the vocabulary and the negative log-likelihood of the target, in nats.
//
//   losses[i] = log(sum_v exp(logits[i, v])) - logits[i, targets[i]]
//   dlogits[i, v] = scale (softmax(logits[i])_v - [v = targets[i]])
//
//   logits (BT,V)   targets (BT), each in 0 .. V-1   losses (BT)   scale = dL/dlosses[i], 1 / (tokens in the update)
//
// Nothing lies between the loss and its gradient, so training makes both at once, while a row is in the cache: the
// (BT,V) logits, by far the largest array, are read and written once. cost: one exp a logit
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/precision.h"

namespace cpu {

// Overwrites losses.
void cross_entropy_forward(float* losses, const float* logits, const int32_t* targets, size_t BT, size_t V);

// Overwrites losses, with the bits of cross_entropy_forward; replaces logits by dlogits.
void cross_entropy_forward_backward(float* losses, float* logits, const int32_t* targets, float scale, size_t BT,
                                    size_t V);

}  // namespace cpu

namespace cuda {

template <class S>
void cross_entropy_forward(float* losses, const S* logits, const int32_t* targets, size_t BT, size_t V);
template <class S>
void cross_entropy_forward_backward(float* losses, S* logits, const int32_t* targets, float scale, size_t BT, size_t V);

}  // namespace cuda
