// The forward and the backward once more, for looking at what every kernel wrote: `train --check-from` finds the first
// number there that is not finite.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "kernels/precision.h"
#include "model/activations.h"
#include "model/backend.h"
#include "model/backward.h"
#include "model/parameters.h"

// Called behind every kernel.
//   kernel     its name, as in forward.cpp and backward.cpp
//   arguments  where its arrays start, in the order of its arguments; null where there is none
//   written    the first so many are those that it overwrites or adds to
using KernelObserver = std::function<void(const char* kernel, std::span<const void* const> arguments, size_t written)>;

// As forward() of model/forward.h and backward() of model/backward.h: the same sources, kernels and bits.
template <class N, class P = fp32, class S = backend::Storage<P>>
void observed_forward(const KernelObserver& observe, const Config& config, const Parameters<S>& p, Activations<S>& a,
                      const int32_t* tokens, const int32_t* targets, size_t B, size_t T, float scale = 0);
template <class N, class P = fp32, class S = backend::Storage<P>>
void observed_backward(const KernelObserver& observe, const Config& config, const Parameters<S>& p,
                       Parameters<float>& dp, Activations<S>& a, size_t B, size_t T,
                       const AttentionObserver<S>& observe_attention = nullptr);
