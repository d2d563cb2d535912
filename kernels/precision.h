// Precision is a type: the format to which the operands of the linear layers' matrix products are rounded. Sums of
// products are fp32 in either, and so is everything else: parameters, gradients, moments, attention, normalization.
#pragma once

#include <cstdint>

using fp32 = float;

// The upper half of a float: 8 bits of exponent, 7 of mantissa.
struct bf16 {
  uint16_t bits;
};

template <class P>
inline constexpr const char* kPrecisionName = nullptr;
template <>
inline constexpr const char* kPrecisionName<fp32> = "fp32";
template <>
inline constexpr const char* kPrecisionName<bf16> = "bf16";

#ifdef ATTNORM_PRECISION  // the name given to make as PRECISION=...
using SelectedPrecision = ATTNORM_PRECISION;
#endif
