// GELU, in the tanh form that GPT-2 uses.
//
//   out = x/2 (1 + tanh(u)) = x sigmoid(2u),   u = sqrt(2/pi) (x + 0.044715 x^3)
//
//   inp, out: n numbers. Source: Hendrycks and Gimpel 2016, arXiv 1606.08415. cost: one exp and one division a number
#pragma once

#include <cstddef>

#include "kernels/precision.h"

namespace cpu {

// Overwrites out.
void gelu_forward(float* out, const float* inp, size_t n);

// Overwrites dinp, which may be dout itself. With s = sigmoid(2u):   dinp = dout (s + x s (1 - s) 2 du/dx)
void gelu_backward(float* dinp, const float* dout, const float* inp, size_t n);

}  // namespace cpu

namespace cuda {

template <class S>
void gelu_forward(S* out, const S* inp, size_t n);
template <class S>
void gelu_backward(S* dinp, const S* dout, const S* inp, size_t n);

}  // namespace cuda
