// Rotary position embedding, written as plainly as it can be: kernels/rope.h for arrays of Real, but the angles come
// from `theta` at once, without a table.
#pragma once

#include <cmath>
#include <cstddef>

namespace reference {

// Rotates q and k of qkv (B,T,3C) in place, by the angles t theta^(-2i / HS) times `direction`.
template <class Real>
void rope_rotate(Real* qkv, double theta, Real direction, size_t B, size_t T, size_t C, size_t NH) {
  size_t HS = C / NH, half = HS / 2;
  for (size_t b = 0; b < B; b++)
    for (size_t t = 0; t < T; t++)
      for (size_t head = 0; head < 2 * NH; head++)  // those of q, then those of k: they lie side by side
        for (size_t i = 0; i < half; i++) {
          Real* x = qkv + (b * T + t) * 3 * C + head * HS;
          Real angle = direction * Real(t) * std::pow(Real(theta), -2 * Real(i) / Real(HS));
          Real cosine = std::cos(angle), sine = std::sin(angle);
          Real first = x[i], second = x[i + half];
          x[i] = first * cosine - second * sine;
          x[i + half] = first * sine + second * cosine;
        }
}

template <class Real>
void rope_forward(Real* qkv, double theta, size_t B, size_t T, size_t C, size_t NH) {
  rope_rotate(qkv, theta, Real(1), B, T, C, NH);
}

// The gradient of y = R x is dx = R^T dy, and R^T rotates back.
template <class Real>
void rope_backward(Real* dqkv, double theta, size_t B, size_t T, size_t C, size_t NH) {
  rope_rotate(dqkv, theta, Real(-1), B, T, C, NH);
}

}  // namespace reference
