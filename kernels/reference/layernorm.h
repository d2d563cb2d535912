// Layer normalization, written as plainly as it can be. Contract: kernels/layernorm.h, for arrays of Real.
#pragma once

#include <cmath>
#include <cstddef>

#include "kernels/layernorm.h"

namespace reference {

template <class Real>
void layernorm_forward(Real* out, Real* mean, Real* rstd, const Real* inp, const Real* weight, const Real* bias,
                       size_t BT, size_t C) {
  for (size_t i = 0; i < BT; i++) {
    const Real* x = inp + i * C;

    // pass 1: the mean
    Real sum = 0;
    for (size_t c = 0; c < C; c++) sum += x[c];
    mean[i] = sum / Real(C);

    // pass 2: rstd = (var + eps)^(-1/2)
    Real squares = 0;
    for (size_t c = 0; c < C; c++) squares += (x[c] - mean[i]) * (x[c] - mean[i]);
    rstd[i] = 1 / std::sqrt(squares / Real(C) + Real(kLayerNormEps));

    // pass 3: normalize, then the affine map
    for (size_t c = 0; c < C; c++) out[i * C + c] = (x[c] - mean[i]) * rstd[i] * weight[c] + bias[c];
  }
}

template <class Real>
void residual_layernorm_forward(Real* out, Real* mean, Real* rstd, Real* inp, const Real* stream, const Real* branch,
                                const Real* weight, const Real* bias, size_t BT, size_t C) {
  for (size_t i = 0; branch && i < BT * C; i++) inp[i] = stream[i] + branch[i];
  layernorm_forward(out, mean, rstd, inp, weight, bias, BT, C);
}

template <class Real>
void layernorm_backward(Real* dinp, Real* dweight, Real* dbias, const Real* dresidual, const Real* dout,
                        const Real* inp, const Real* weight, const Real* mean, const Real* rstd, size_t BT, size_t C) {
  for (size_t i = 0; i < BT; i++) {
    const Real *x = inp + i * C, *dy = dout + i * C;
    for (size_t c = 0; c < C; c++) dinp[i * C + c] = dresidual ? dresidual[i * C + c] : Real(0);

    // backward pass 3: y = (x - mean) rstd weight + bias
    Real drstd = 0, dmean = 0;
    for (size_t c = 0; c < C; c++) {
      dbias[c] += dy[c];
      dweight[c] += dy[c] * (x[c] - mean[i]) * rstd[i];
      drstd += dy[c] * weight[c] * (x[c] - mean[i]);
      dmean -= dy[c] * weight[c] * rstd[i];
      dinp[i * C + c] += dy[c] * weight[c] * rstd[i];
    }

    // backward pass 2: drstd/dvar = -rstd^3 / 2, dvar/dx_c = 2 (x_c - mean) / C; dvar/dmean = 0
    Real dvar = -drstd * rstd[i] * rstd[i] * rstd[i] / 2;
    for (size_t c = 0; c < C; c++) dinp[i * C + c] += dvar * 2 * (x[c] - mean[i]) / Real(C);

    // backward pass 1: dmean/dx_c = 1 / C
    for (size_t c = 0; c < C; c++) dinp[i * C + c] += dmean / Real(C);
  }
}

}  // namespace reference
