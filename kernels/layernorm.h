// Layer normalization of every row, then an affine map.
//
//   out[i, c] = (inp[i, c] - mean[i]) rstd[i] weight[c] + bias[c]
//   mean = sum_c inp / C,   rstd = 1 / sqrt(sum_c (inp - mean)^2 / C + 1e-5)
//
//   inp, out (BT,C)   weight, bias (C)   mean, rstd (BT), saved for backward
// Source: Ba, Kiros, Hinton 2016, arXiv 1607.06450. cost: reads and writes (BT,C) once
#pragma once

#include <cstddef>

inline constexpr float kLayerNormEps = 1e-5f;

namespace cpu {

// Overwrites out, mean and rstd.
void layernorm_forward(float* out, float* mean, float* rstd, const float* inp, const float* weight, const float* bias,
                       size_t BT, size_t C);

// Adds to dinp (the residual stream), dweight and dbias. With x = (inp - mean) rstd and d = dout weight:
//   dinp += rstd (d - sum_c d / C - x sum_c d x / C),   dweight += sum_i dout x,   dbias += sum_i dout
void layernorm_backward(float* dinp, float* dweight, float* dbias, const float* dout, const float* inp,
                        const float* weight, const float* mean, const float* rstd, size_t BT, size_t C);

}  // namespace cpu
