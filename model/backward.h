// The backward of a GPT: from the loss to the gradient of every parameter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "kernels/precision.h"
#include "model/activations.h"
#include "model/backend.h"
#include "model/parameters.h"

// Called for every layer with the gradient of its attention output, (B,T,C): the trainer's attention record starts
// there.
template <class S>
using AttentionObserver = std::function<void(int layer, const S* dattention)>;

// Adds to the gradients `dp` the derivative of scale * (sum of a.losses), after a forward with this scale and the same B,
// T, N and P, whose tokens must still be there. Overwrites the gradients in `a`.
template <class N, class P = fp32, class S = backend::Storage<P>>
void backward(const Config& config, const Parameters<S>& p, Parameters<float>& dp, Activations<S>& a, size_t B,
              size_t T, const AttentionObserver<S>& observe = nullptr);
