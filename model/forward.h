// The forward of a GPT: from tokens to logits, and to the loss where targets are given.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/precision.h"
#include "model/activations.h"
#include "model/backend.h"
#include "model/parameters.h"

// With normalizer N and precision P. Overwrites every activation, for B x T tokens (B, T up to what `a` was made for).
//   tokens  (B,T), of the host
//   targets (B,T), or null; with them a.losses holds the loss of every token in nats
//   scale   where it is not 0, a.logits holds the gradient of scale * (sum of a.losses), from which the backward starts;
//           otherwise a.logits holds the logits
template <class N, class P = fp32, class S = backend::Storage<P>>
void forward(const Config& config, const Parameters<S>& p, Activations<S>& a, const int32_t* tokens,
             const int32_t* targets, size_t B, size_t T, float scale = 0);
