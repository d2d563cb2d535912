// Which part of an update takes how much of it: the model's forward and backward once more, with every kernel timed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "model/activations.h"
#include "model/backward.h"
#include "model/parameters.h"

enum class Part {
  kLayers,  // matrix products of the layers, with what is fused into them, and the bias gradients
  kHead,    // those of the head
  kAttention,
  kLayerNorm,
  kGelu,
  kRope,
  kCrossEntropy,
  kEmbedding,
  kGradientNorm,
  kAdamW,
  kRest,  // between the kernels
  kCount
};
inline constexpr size_t kParts = size_t(Part::kCount);
const char* part_name(Part part);

using Profile = std::array<double, kParts>;  // ms

namespace profiled {

extern Profile profile;  // what the kernels have taken since it was cleared

// As in model/forward.h and model/backward.h, for N = softmax.
template <class N, class P, class S = float>
void forward(const Config& config, const Parameters<S>& p, Activations<S>& a, const int32_t* tokens,
             const int32_t* targets, size_t B, size_t T, float scale);
template <class N, class P, class S = float>
void backward(const Config& config, const Parameters<S>& p, Parameters<float>& dp, Activations<S>& a, size_t B,
              size_t T, const AttentionObserver<S>& observe);

}  // namespace profiled
