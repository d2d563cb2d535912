// Precision is a type: fp32, or bf16 for the operands of matrix products. Sums of products are fp32 in either, and so are
// master parameters, gradients of parameters, moments, statistics, losses and a normalizer's arithmetic.
//
//   on the CPU   bf16 rounds the operands of the linear layers as they are multiplied; everything is stored in fp32
//   on the GPU   bf16 is what activations, their gradients and a copy of the matrices are stored in; attention's products
//                take it too
#pragma once

#include <cstdint>

#include "kernels/host_device.h"

using fp32 = float;

// The upper half of a float: 8 bits of exponent, 7 of mantissa.
struct bf16 {
  uint16_t bits;
};

HD float to_float(float x) { return x; }
HD float to_float(bf16 x) { return __builtin_bit_cast(float, uint32_t(x.bits) << 16); }

// The nearest number of S, ties to even; NaN stays NaN.
template <class S>
HD S round_to(float x);
template <>
HD float round_to<float>(float x) {
  return x;
}
template <>
HD bf16 round_to<bf16>(float x) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {0x7fff};
  return {uint16_t((bits + 0x7fffu + (bits >> 16 & 1)) >> 16)};
}

template <class P>
inline constexpr const char* kPrecisionName = nullptr;
template <>
inline constexpr const char* kPrecisionName<fp32> = "fp32";
template <>
inline constexpr const char* kPrecisionName<bf16> = "bf16";

// What activations and matrices are stored in.
namespace cpu {
template <class P>
using Storage = float;
}
namespace cuda {
template <class P>
using Storage = P;
}

#ifdef ATTNORM_PRECISION  // the name given to make as PRECISION=...
using SelectedPrecision = ATTNORM_PRECISION;
#endif
