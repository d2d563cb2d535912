// Philox4x32-10, a counter-based random number generator: value number `counter` of stream `key` is a pure function of
// the two, so any element of any tensor can be drawn on any thread or device, in any order, with the same bits.
// Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"; constants as in the authors' Random123.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <string_view>

#include "kernels/portable_math.h"

struct Philox {
  std::array<uint32_t, 2> key;

  // 128 random bits for the 128-bit counter (low, high), each given as 64 bits.
  std::array<uint32_t, 4> operator()(uint64_t low, uint64_t high = 0) const {
    std::array<uint32_t, 4> x = {uint32_t(low), uint32_t(low >> 32), uint32_t(high), uint32_t(high >> 32)};
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
      uint64_t p0 = uint64_t(0xD2511F53u) * x[0], p1 = uint64_t(0xCD9E8D57u) * x[2];
      x = {uint32_t(p1 >> 32) ^ x[1] ^ k0, uint32_t(p1), uint32_t(p0 >> 32) ^ x[3] ^ k1, uint32_t(p0)};
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    return x;
  }
};

// FNV-1a, 32 bits: turns a tensor's name into half of a key. Source: Fowler, Noll, Vo; offset 2166136261, prime
// 16777619.
inline uint32_t fnv1a(std::string_view text) {
  uint32_t hash = 2166136261u;
  for (char c : text) hash = (hash ^ uint8_t(c)) * 16777619u;
  return hash;
}

// Uniform in (0, 1) from 52 of 64 random bits; neither end is ever returned.
inline double uniform(uint32_t high, uint32_t low) {
  uint64_t bits = (uint64_t(high) << 32 | low) >> 12;
  return (double(bits) + 0.5) * 0x1p-52;
}

// Uniform in 0 .. n-1 from 64 random bits, up to a bias below n / 2^64.
inline uint64_t below(uint64_t n, uint32_t high, uint32_t low) {
  const uint64_t bits = uint64_t(high) << 32 | low;
  return uint64_t((unsigned __int128)(bits)*n >> 64);
}

// Elements 2 pair and 2 pair + 1 of an endless stream of standard normal numbers: Box-Muller on the four words of
// counter (pair, high).
inline std::array<double, 2> two_normals(const Philox& stream, uint64_t pair, uint64_t high = 0) {
  auto x = stream(pair, high);
  double radius = std::sqrt(-2 * portable::log(uniform(x[0], x[1])));
  auto [cosine, sine] = portable::cosine_sine(uniform(x[2], x[3]));
  return {radius * cosine, radius * sine};
}

// Element `index` of that stream.
inline double standard_normal(const Philox& stream, uint64_t index, uint64_t high = 0) {
  return two_normals(stream, index / 2, high)[index % 2];
}
