// How the operands of a matrix product are held while it runs: in words of 32 bits, as SIMD registers want them. In fp32
// a word is one number; in bf16 it is two of successive k, the earlier one in the lower half:
//
//   fp32:  word k   = x[k]                     bf16:  word k/2 = x[k] | x[k+1] << 16
//
// so that both kinds of product read K / kDepth words per row and differ only in what one multiply-add does. A Pack of
// words is bits, not numbers: nothing may calculate with it but `multiply_add`.
#pragma once

#include "kernels/cpu/pack.h"
#include "kernels/precision.h"

namespace cpu {

using num::Pack;

template <class P>
struct Operand;

template <>
struct Operand<fp32> {
  static constexpr size_t kDepth = 1;  // steps of k in a word

  // W words of one row: x[0], x[1], ...; `count` of them exist, the others count as 0.
  static Pack along_k(const float* x, size_t count) { return Pack::load(x, count); }

  // One word of each of W neighbours: x[0 .. lanes - 1] at each of `depth` steps of k, `stride` apart.
  static Pack across_k(const float* x, size_t /*stride*/, size_t /*depth*/, size_t lanes) {
    return Pack::load(x, lanes);
  }

  // c + a b
  static Pack multiply_add(Pack a, Pack b, Pack c) { return num::fma(a, b, c); }
};

// Two floats rounded to bf16, in one word: to the nearest, ties to even; subnormal numbers become 0, NaN stays NaN. The
// same bits as the instruction gives.
inline Pack::Bits round_to_bf16(Pack::Bits x) {  // in the upper half
  const Pack::Bits magnitude = x & 0x7fffffffu;
  const Pack::Bits rounded = x + 0x7fffu + ((x >> 16) & 1u);
  const Pack::Bits finite = magnitude < 0x00800000u ? x & 0x80000000u : rounded;
  return (magnitude > 0x7f800000u ? x | 0x00400000u : finite) & 0xffff0000u;
}
// Lane by lane: low in the lower half, high in the upper.
inline Pack pair_of_bf16_generic(Pack low, Pack high) {
  return num::from_bits(round_to_bf16(num::bits(low)) >> 16 | round_to_bf16(num::bits(high)));
}
// The numbers of `first`, then those of `second`, in the order of memory.
inline Pack successive_bf16_generic(Pack first, Pack second) {
  return pair_of_bf16_generic(num::even_lanes(first, second), num::odd_lanes(first, second));
}

// c + a_high b_high, then + a_low b_low, each rounded once; subnormal results become 0. The same bits as the instruction.
inline Pack flush_subnormal(Pack x) {
  const Pack::Bits b = num::bits(x);
  return num::from_bits((b & 0x7fffffffu) < 0x00800000u ? b & 0x80000000u : b);
}
inline Pack dot_bf16_generic(Pack a, Pack b, Pack c) {
  auto high = [](Pack x) { return num::from_bits(num::bits(x) & 0xffff0000u); };
  auto low = [](Pack x) { return num::from_bits(num::bits(x) << 16); };
  c = flush_subnormal(num::fma(high(a), high(b), flush_subnormal(c)));
  return flush_subnormal(num::fma(low(a), low(b), c));
}

#ifdef __AVX512BF16__
inline Pack successive_bf16(Pack first, Pack second) {
  return Pack::Floats(_mm512_castsi512_ps((__m512i)_mm512_cvtne2ps_pbh(__m512(second.v), __m512(first.v))));
}
inline Pack pair_of_bf16(Pack low, Pack high) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8,  //
                                         23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return Pack::Floats(
      _mm512_castsi512_ps(_mm512_permutexvar_epi16(order, _mm512_castps_si512(__m512(successive_bf16(low, high).v)))));
}
inline Pack dot_bf16(Pack a, Pack b, Pack c) {
  return Pack::Floats(_mm512_dpbf16_ps(__m512(c.v), (__m512bh)__m512(a.v), (__m512bh)__m512(b.v)));
}
#else
inline Pack pair_of_bf16(Pack low, Pack high) { return pair_of_bf16_generic(low, high); }
inline Pack successive_bf16(Pack first, Pack second) { return successive_bf16_generic(first, second); }
inline Pack dot_bf16(Pack a, Pack b, Pack c) { return dot_bf16_generic(a, b, c); }
#endif

template <>
struct Operand<bf16> {
  static constexpr size_t kDepth = 2;

  static Pack along_k(const float* x, size_t count) {
    constexpr size_t W = num::kPackWidth;
    if (count >= 2 * W) return successive_bf16(Pack::load(x), Pack::load(x + W));
    return successive_bf16(Pack::load(x, count < W ? count : W), Pack::load(x + W, count > W ? count - W : 0));
  }

  static Pack across_k(const float* x, size_t stride, size_t depth, size_t lanes) {
    return pair_of_bf16(Pack::load(x, lanes), depth == 2 ? Pack::load(x + stride, lanes) : Pack(0));
  }

  static Pack multiply_add(Pack a, Pack b, Pack c) { return dot_bf16(a, b, c); }
};

}  // namespace cpu
