// The functions a normalizer may use, for every type that its code is compiled for:
//   double      tests and the attention record: the standard library's
//   float       CUDA and scalar CPU code: the polynomials below
//   num::Pack   CPU kernels, one float per SIMD lane: the same polynomials (kernels/cpu/pack.h)
// One template serves float and Pack, so CPU and GPU compute the same functions, and none depends on a libm. Nothing
// here branches on a value: `select` chooses between two results. NaN goes in, NaN comes out, always: a run that
// diverges must be seen to diverge.
//
// Largest errors, in units in the last place of the exact result (tests/test_math.cpp measures them), with fused
// multiply-add and without:
//   exp  1.1   for x in [-87, 88]; outside, the value at the end of that interval
//   exp_unit   2.5, without fused multiply-add 3.7   for x in [-1, 1] alone: exp at half the price
//   log  0.9   for normal positive x; +inf gives +inf, other x are not allowed
//   sin, cos   2.5, and 1.3e-7 absolute, for |x| <= 1e4; beyond, 1.3e-7 up to 1e6 with fused multiply-add, while
//              without it the error grows with |x|: 1e-6 at 1e5. For |x| far above, where neighbouring floats are several
//              turns apart, some number from -1 to 1, up to rounding
#pragma once

#include <cfloat>
#include <cmath>
#include <cstdint>

#include "kernels/host_device.h"
#ifndef __CUDACC__
#include "kernels/cpu/pack.h"
#endif

namespace num {

// ---- The primitives that differ between the types -------------------------------------------------------------------

HD double select(bool mask, double a, double b) { return mask ? a : b; }
HD float select(bool mask, float a, float b) { return mask ? a : b; }

HD float sqrt(float x) { return ::sqrtf(x); }
HD double sqrt(double x) { return ::sqrt(x); }

// a b + c, rounded once where the target has the instruction.
HD double fma(double a, double b, double c) { return ::fma(a, b, c); }
HD float fma(float a, float b, float c) {
#if defined(__CUDACC__) || defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  return ::fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

HD uint32_t bits(float x) { return __builtin_bit_cast(uint32_t, x); }
HD float from_bits(uint32_t x) { return __builtin_bit_cast(float, x); }

// ---- Everything else, once ------------------------------------------------------------------------------------------

// a where either is NaN. (The order of a and b is that of one instruction of x86.)
template <class V>
HD V min(V a, V b) {
  return select(b < a, b, a);
}
template <class V>
HD V max(V a, V b) {
  return select(b > a, b, a);
}

// Adding and subtracting 1.5 * 2^23 rounds to the nearest integer (|x| < 2^22), and leaves that integer in the low
// bits.
inline constexpr float kRound = 12582912.0f;

// x = k ln 2 + r with |r| <= ln 2 / 2, so e^x = 2^k e^r; e^r = 1 + r + r^2 P(r), relative error 3e-9 before rounding.
template <class V>
HD V exp(V x) {
  x = min(max(x, V(-87.0f)), V(88.0f));
  V shifted = fma(x, V(1.44269504f), V(kRound));
  V k = shifted - V(kRound);
  V r = fma(k, V(-0.693115234375f), x);
  r = fma(k, V(-3.19461833e-05f), r);
  V p = fma(V(0.00138144672f), r, V(0.00836878084f));
  p = fma(p, r, V(0.0416683927f));
  p = fma(p, r, V(0.166665196f));
  p = fma(p, r, V(0.49999994f));
  p = fma(p * r, r, r) + V(1.0f);
  return p * from_bits((bits(shifted) << 23) + 0x3f800000u);
}

// e^x = 1 + x P(x), relative error 4e-8 before rounding.
template <class V>
HD V exp_unit(V x) {
  V p = fma(V(2.74567956e-05f), x, V(0.000206516503f));
  p = fma(p, x, V(0.00138465234f));
  p = fma(p, x, V(0.00832532439f));
  p = fma(p, x, V(0.0416688062f));
  p = fma(p, x, V(0.166669652f));
  p = fma(p, x, V(0.499999732f));
  p = fma(p, x, V(0.999999702f));
  return fma(p, x, V(1.0f));
}

// x = 2^k m with m in [sqrt(1/2), sqrt(2)); log(1 + f) = f - f^2 / 2 + f^3 P(f), relative error 6e-9 before rounding.
template <class V>
HD V log(V x) {
  const uint32_t kRootHalf = 0x3f3504f3u, kBias = 127u << 23;
  auto exponent = ((bits(x) - kRootHalf + kBias) >> 23) - 127u;
  V k = from_bits(exponent + bits(V(kRound))) - V(kRound);
  V f = from_bits(bits(x) - (exponent << 23)) - V(1.0f);
  V p = fma(V(-0.0763449669f), f, V(0.127615765f));
  p = fma(p, f, V(-0.131601825f));
  p = fma(p, f, V(0.142017573f));
  p = fma(p, f, V(-0.166233569f));
  p = fma(p, f, V(0.200012267f));
  p = fma(p, f, V(-0.250008196f));
  p = fma(p, f, V(0.333333313f));
  V square = f * f;
  V tail = fma(p * f, square, k * V(3.19461833e-05f));
  tail = fma(V(-0.5f), square, tail);
  V result = fma(k, V(0.693115234375f), f + tail);
  return select(x <= V(FLT_MAX), result, x);
}

// r + r^3 P(r^2), relative error 6e-9 on [-pi/2, pi/2], with the sign of (-1)^k: the integer k in the low bits of
// `k_bits`.
template <class V, class Bits>
HD V signed_sine(V r, Bits k_bits) {
  V s = r * r;
  V p = fma(V(2.60563115e-06f), s, V(-0.000198095397f));
  p = fma(p, s, V(0.00833306555f));
  p = fma(p, s, V(-0.166666597f));
  V sine = fma(p * s, r, r);
  return from_bits(bits(sine) ^ (k_bits << 31));
}

// x - k pi, exactly where it matters: the first three parts of pi are short enough for k times each to be exact. For huge
// x it would be anything, and the polynomial of it infinite; within [-2, 2] a sine is no more than 1.
template <class V>
HD V minus_k_pi(V x, V k) {
  x = fma(k, V(-3.140625f), x);
  x = fma(k, V(-0.000967502594f), x);
  x = fma(k, V(-1.50990672e-07f), x);
  x = fma(k, V(-5.12668814e-12f), x);
  return min(max(x, V(-2.0f)), V(2.0f));
}

// sin x = (-1)^k sin(x - k pi).
template <class V>
HD V sin(V x) {
  V shifted = fma(x, V(0.318309886f), V(kRound));
  return signed_sine(minus_k_pi(x, shifted - V(kRound)), bits(shifted));
}

// cos x = -(-1)^k sin(x - (k + 1/2) pi).
template <class V>
HD V cos(V x) {
  V shifted = fma(x, V(0.318309886f), V(-0.5f)) + V(kRound);
  return signed_sine(minus_k_pi(x, shifted - V(kRound) + V(0.5f)), bits(shifted) + 1u);
}

template <>
HD double exp(double x) {
  return ::exp(x);
}
template <>
HD double exp_unit(double x) {
  return ::exp(x);
}
template <>
HD double log(double x) {
  return ::log(x);
}
template <>
HD double sin(double x) {
  return ::sin(x);
}
template <>
HD double cos(double x) {
  return ::cos(x);
}

}  // namespace num
