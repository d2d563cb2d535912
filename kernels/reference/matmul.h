// A linear layer, written as plainly as it can be. Contract: kernels/matmul.h, for arrays of Real.
#pragma once

#include <cstddef>

#include "kernels/matmul.h"

namespace reference {

// Where W[c, o] lies in `weight`.
inline size_t weight_index(size_t c, size_t o, size_t C, size_t OC, WeightLayout layout) {
  return layout == WeightLayout::kInOut ? c * OC + o : o * C + c;
}

template <class Real>
void matmul_forward(Real* out, const Real* inp, const Real* weight, const Real* bias, size_t BT, size_t C, size_t OC,
                    WeightLayout layout = WeightLayout::kInOut) {
  for (size_t i = 0; i < BT; i++) {
    for (size_t o = 0; o < OC; o++) {
      Real sum = bias ? bias[o] : Real(0);
      for (size_t c = 0; c < C; c++) sum += inp[i * C + c] * weight[weight_index(c, o, C, OC, layout)];
      out[i * OC + o] = sum;
    }
  }
}

// Each product inp[i, c] W[c, o] enters out[i, o] with factor 1, so
//   dinp[i, c] = sum_o dout[i, o] W[c, o],   dW[c, o] += sum_i dout[i, o] inp[i, c],   dbias[o] += sum_i dout[i, o]
template <class Real>
void matmul_backward(Real* dinp, Real* dweight, Real* dbias, const Real* dout, const Real* inp, const Real* weight,
                     size_t BT, size_t C, size_t OC, WeightLayout layout = WeightLayout::kInOut) {
  for (size_t i = 0; i < BT; i++) {
    for (size_t c = 0; c < C; c++) {
      Real sum = 0;
      for (size_t o = 0; o < OC; o++) {
        size_t w = weight_index(c, o, C, OC, layout);
        sum += dout[i * OC + o] * weight[w];
        dweight[w] += dout[i * OC + o] * inp[i * C + c];
      }
      if (dinp) dinp[i * C + c] = sum;
    }
    if (!dbias) continue;
    for (size_t o = 0; o < OC; o++) dbias[o] += dout[i * OC + o];
  }
}

}  // namespace reference
