// GELU, written as plainly as it can be. Contract: kernels/gelu.h, for arrays of Real.
#pragma once

#include <cmath>
#include <cstddef>

namespace reference {

inline constexpr double kGeluSlope = 0.7978845608028654;  // sqrt(2 / pi)
inline constexpr double kGeluCubic = 0.044715;

template <class Real>
void gelu_forward(Real* out, const Real* inp, size_t n) {
  for (size_t i = 0; i < n; i++) {
    Real x = inp[i];
    Real u = Real(kGeluSlope) * (x + Real(kGeluCubic) * x * x * x);
    out[i] = x / 2 * (1 + std::tanh(u));
  }
}

// d/dx [x/2 (1 + tanh u)] = (1 + tanh u) / 2 + x/2 (1 - tanh^2 u) du/dx
template <class Real>
void gelu_backward(Real* dinp, const Real* dout, const Real* inp, size_t n) {
  for (size_t i = 0; i < n; i++) {
    Real x = inp[i];
    Real tanh_u = std::tanh(Real(kGeluSlope) * (x + Real(kGeluCubic) * x * x * x));
    Real du = Real(kGeluSlope) * (1 + 3 * Real(kGeluCubic) * x * x);
    dinp[i] = dout[i] * ((1 + tanh_u) / 2 + x / 2 * (1 - tanh_u * tanh_u) * du);
  }
}

}  // namespace reference
