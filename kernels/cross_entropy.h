// The loss: softmax over the vocabulary and the negative log-likelihood of the target, in nats.
//
//   losses[i] = log(sum_v exp(logits[i, v])) - logits[i, targets[i]]
//
//   logits (BT,V), overwritten twice: by probabilities, then by gradients, so that (BT,V) exists once
//   targets (BT), each in 0 .. V-1   losses (BT)
#pragma once

#include <cstddef>
#include <cstdint>

namespace cpu {

// Overwrites losses; replaces logits by the probabilities softmax(logits).
void cross_entropy_forward(float* losses, float* logits, const int32_t* targets, size_t BT, size_t V);

// Replaces probabilities p by dlogits = scale (p - onehot(target)); scale = dL/dlosses[i], 1 / (tokens in the update).
void cross_entropy_backward(float* probabilities, const int32_t* targets, float scale, size_t BT, size_t V);

}  // namespace cpu
