// Layer normalization of every row, then an affine map.
//
//   out[i, c] = (inp[i, c] - mean[i]) rstd[i] weight[c] + bias[c]
//   mean = sum_c inp / C,   rstd = 1 / sqrt(sum_c (inp - mean)^2 / C + 1e-5)
//
//   inp, out (BT,C)   weight, bias (C)   mean, rstd (BT), saved for backward
// Source: Ba, Kiros, Hinton 2016, arXiv 1607.06450. cost: reads and writes (BT,C) once
#pragma once

#include <cstddef>

#include "kernels/precision.h"

inline constexpr float kLayerNormEps = 1e-5f;

namespace cpu {

// Overwrites out, mean and rstd.
void layernorm_forward(float* out, float* mean, float* rstd, const float* inp, const float* weight, const float* bias,
                       size_t BT, size_t C);

// The same for inp = stream + branch (BT,C), the residual connection; writes that sum to inp. inp may be either of the
// two. branch may be null where there is nothing to add: then inp is stream.
void residual_layernorm_forward(float* out, float* mean, float* rstd, float* inp, const float* stream,
                                const float* branch, const float* weight, const float* bias, size_t BT, size_t C);

// With x = (inp - mean) rstd and d = dout weight:
//   dinp = dresidual + rstd (d - sum_c d / C - x sum_c d x / C),   dweight += sum_i dout x,   dbias += sum_i dout
// Overwrites dinp, adds to dweight and dbias. dresidual (BT,C) is the gradient that inp receives on other ways, null if
// there is none; it may be dinp itself, which then accumulates. The backward of stream + branch is the identity towards
// both: dinp is the gradient of either.
void layernorm_backward(float* dinp, float* dweight, float* dbias, const float* dresidual, const float* dout,
                        const float* inp, const float* weight, const float* mean, const float* rstd, size_t BT,
                        size_t C);

// Scratch memory that all threads of the backward share, in floats.
size_t layernorm_shared_floats(size_t C);

}  // namespace cpu

namespace cuda {

template <class S>
void layernorm_forward(S* out, float* mean, float* rstd, const S* inp, const float* weight, const float* bias,
                       size_t BT, size_t C);
template <class S>
void residual_layernorm_forward(S* out, float* mean, float* rstd, S* inp, const S* stream, const S* branch,
                                const float* weight, const float* bias, size_t BT, size_t C);
template <class S>
void layernorm_backward(S* dinp, float* dweight, float* dbias, const S* dresidual, const S* dout, const S* inp,
                        const float* weight, const float* mean, const float* rstd, size_t BT, size_t C);
size_t layernorm_shared_floats(size_t C);

}  // namespace cuda
