// The backward of a GPT: from the loss to the gradient of every parameter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "kernels/precision.h"
#include "model/activations.h"
#include "model/parameters.h"

// Called for every layer with the gradient of its attention output, (B,T,C): the trainer's attention record starts
// there.
using AttentionObserver = std::function<void(int layer, const float* dattention)>;

// Adds to the gradients `dp` the derivative of scale * (sum of a.losses), after a forward of the same tokens with this
// scale and the same N and P. Overwrites the gradients in `a`.
template <class N, class P = fp32>
void backward(const Config& config, const Parameters& p, Parameters& dp, Activations& a, const int32_t* tokens,
              size_t B, size_t T, const AttentionObserver& observe = nullptr);
