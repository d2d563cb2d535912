// Attention as plainly as a GPU computes it: one warp for each row. Contract: kernels/attention.h. It is what
// cuda::attention_forward and backward run for head sizes that have no tiled kernel, and what the tests hold the tiled
// kernels against. HS up to 3072: 4 vectors of a head lie in 48 KiB of shared memory.
#pragma once

#include <cstddef>

namespace cuda::plain {

template <class N, class S>
void attention_forward(S* out, float* rows, const S* qkv, const float* theta, const float* length_scale,
                       const float* slopes, size_t B, size_t T, size_t C, size_t NH);

template <class N, class S>
void attention_backward(S* dqkv, float* dtheta, float* dlength_scale, const S* dout, const S* out, const float* rows,
                        const S* qkv, const float* theta, const float* slopes, size_t B, size_t T, size_t C, size_t NH);

}  // namespace cuda::plain
