// Pack: as many floats as fit one SIMD register, with the arithmetic of a single number. Written in the vector
// extensions of GCC and Clang; only fused multiply-add and square root, which those lack, and minimum and maximum,
// which GCC does not always recognize, name an instruction set.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#if defined(__AVX__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace num {

#if defined(__AVX512F__)
inline constexpr int kPackWidth = 16;
#elif defined(__AVX__)
inline constexpr int kPackWidth = 8;
#else
inline constexpr int kPackWidth = 4;
#endif

struct Pack {
  typedef float Floats __attribute__((vector_size(4 * kPackWidth)));
  typedef uint32_t Bits __attribute__((vector_size(4 * kPackWidth)));
  typedef float Eight __attribute__((vector_size(32)));
  typedef float Four __attribute__((vector_size(16)));
  typedef int32_t Truth __attribute__((vector_size(4 * kPackWidth)));
  struct Mask {
    Truth
        lanes;  // -1 where true, 0 where false; signed, as comparisons give it: GCC then needs no conversion to use it
  };

  Floats v;

  Pack() = default;
  Pack(Floats lanes) : v(lanes) {}
  explicit Pack(float x) : v(x - Floats{}) {}  // x in every lane

  // Any alignment. With fewer lanes than a register has, only those touch memory; a load leaves 0 in the others.
  static Pack load(const float* p, size_t lanes = kPackWidth) {
    Pack x(0.0f);
    std::memcpy(&x.v, p, lanes * sizeof(float));
    return x;
  }
  static Pack every_lane(const float* p) {  // the word at p, whatever it means
    uint32_t word;
    std::memcpy(&word, p, sizeof word);
    return Floats(Bits{} + word);
  }
  void store(float* p, size_t lanes = kPackWidth) const { std::memcpy(p, &v, lanes * sizeof(float)); }

  static Pack iota() {  // 0, 1, 2, ...
    Pack x;
    for (int lane = 0; lane < kPackWidth; lane++) x.v[lane] = float(lane);
    return x;
  }
  float sum() const {  // always in the same order: halves are added until one number is left
#if defined(__AVX512F__)
    Eight eight = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
                  __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
#elif defined(__AVX__)
    Eight eight = v;
#endif
#if defined(__AVX__)
    Four four = __builtin_shufflevector(eight, eight, 0, 1, 2, 3) + __builtin_shufflevector(eight, eight, 4, 5, 6, 7);
#else
    Four four = v;
#endif
    return (four[0] + four[2]) + (four[1] + four[3]);
  }
};

inline Pack operator+(Pack a, Pack b) { return a.v + b.v; }
inline Pack operator-(Pack a, Pack b) { return a.v - b.v; }
inline Pack operator*(Pack a, Pack b) { return a.v * b.v; }
inline Pack operator/(Pack a, Pack b) { return a.v / b.v; }
inline Pack operator-(Pack a) { return -a.v; }
inline Pack& operator+=(Pack& a, Pack b) { return a = a + b; }
inline Pack& operator-=(Pack& a, Pack b) { return a = a - b; }
inline Pack& operator*=(Pack& a, Pack b) { return a = a * b; }

inline Pack::Mask operator<(Pack a, Pack b) { return {a.v < b.v}; }
inline Pack::Mask operator>(Pack a, Pack b) { return {a.v > b.v}; }
inline Pack::Mask operator<=(Pack a, Pack b) { return {a.v <= b.v}; }
inline Pack::Mask operator>=(Pack a, Pack b) { return {a.v >= b.v}; }
inline Pack::Mask operator==(Pack a, Pack b) { return {a.v == b.v}; }

inline Pack select(Pack::Mask mask, Pack a, Pack b) { return mask.lanes ? a.v : b.v; }

inline Pack::Bits bits(Pack x) { return (Pack::Bits)x.v; }
inline Pack from_bits(Pack::Bits x) { return (Pack::Floats)x; }

inline Pack fma(Pack a, Pack b, Pack c) {
#if defined(__AVX512F__)
  return Pack::Floats(_mm512_fmadd_ps(a.v, b.v, c.v));
#elif defined(__FMA__)
  return Pack::Floats(_mm256_fmadd_ps(a.v, b.v, c.v));
#elif defined(__ARM_NEON)
  return Pack::Floats(vfmaq_f32(c.v, a.v, b.v));
#else
  return a.v * b.v + c.v;
#endif
}

inline Pack sqrt(Pack x) {
#if defined(__AVX512F__)
  return Pack::Floats(_mm512_maskz_sqrt_ps(__mmask16(-1), x.v));
#elif defined(__AVX__)
  return Pack::Floats(_mm256_sqrt_ps(x.v));
#else
  for (int lane = 0; lane < kPackWidth; lane++) x.v[lane] = __builtin_sqrtf(x.v[lane]);
  return x;
#endif
}

// One instruction each; b where it is the smaller or larger, else a, so a where either is NaN.
inline Pack min(Pack a, Pack b) {
#if defined(__AVX512F__)
  return Pack::Floats(_mm512_maskz_min_ps(__mmask16(-1), b.v, a.v));
#elif defined(__AVX__)
  return Pack::Floats(_mm256_min_ps(b.v, a.v));
#else
  return select(b < a, b, a);
#endif
}
inline Pack max(Pack a, Pack b) {
#if defined(__AVX512F__)
  return Pack::Floats(_mm512_maskz_max_ps(__mmask16(-1), b.v, a.v));
#elif defined(__AVX__)
  return Pack::Floats(_mm256_max_ps(b.v, a.v));
#else
  return select(b > a, b, a);
#endif
}

// The first `lanes` lanes of x, 0 in the others.
inline Pack first(Pack x, size_t lanes) {
  return lanes == kPackWidth ? x : select(Pack::iota() < Pack(float(lanes)), x, Pack(0.0f));
}

namespace lanes {  // index lists for __builtin_shufflevector: i < W is lane i of the first pack, W + i of the second
using Every = std::make_integer_sequence<int, kPackWidth>;
template <int... I>
Pack interleave_low(Pack a, Pack b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a.v, b.v, (I / 2 + I % 2 * kPackWidth)...);
}
template <int... I>
Pack interleave_high(Pack a, Pack b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a.v, b.v, (kPackWidth / 2 + I / 2 + I % 2 * kPackWidth)...);
}
template <int First, int... I>
Pack every_second(Pack a, Pack b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a.v, b.v, (First + 2 * I)...);
}
}  // namespace lanes

// The lanes 0, 2, 4, ... or 1, 3, 5, ... of a, then those of b.
inline Pack even_lanes(Pack a, Pack b) { return lanes::every_second<0>(a, b, lanes::Every()); }
inline Pack odd_lanes(Pack a, Pack b) { return lanes::every_second<1>(a, b, lanes::Every()); }

// Transposes W x W numbers, or words of any kind. Each of the log2(W) steps interleaves rows i and i + W/2, which moves
// the top bit of the column's number to the bottom of the row's, and the reverse; in the end they have changed places.
inline void transpose(Pack (&x)[kPackWidth]) {
#pragma GCC unroll 4
  for (int step = 1; step < kPackWidth; step *= 2) {
    Pack y[kPackWidth];
#pragma GCC unroll 8
    for (int i = 0; i < kPackWidth / 2; i++) {
      y[2 * i] = lanes::interleave_low(x[i], x[i + kPackWidth / 2], lanes::Every());
      y[2 * i + 1] = lanes::interleave_high(x[i], x[i + kPackWidth / 2], lanes::Every());
    }
#pragma GCC unroll 16
    for (int i = 0; i < kPackWidth; i++) x[i] = y[i];
  }
}

// Calls f(i, lanes) for i = 0, W, 2W, ... < n with the lanes left there: W, and perhaps fewer in the last call.
template <class F>
inline void for_each_pack(size_t n, F&& f) {
  constexpr size_t W = kPackWidth;
  size_t i = 0;
  for (; i + W <= n; i += W) f(i, W);
  if (i < n) f(i, n - i);
}

}  // namespace num
