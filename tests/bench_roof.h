// The roofs: what the machine can do at most, measured beside what attnorm does.
#pragma once

#include <cstddef>

#include "tests/bench_clock.h"

// Multiply-adds on registers alone, on all threads. In GFLOP/s it bounds every matrix product.
class FlopRoof {
 public:
  explicit FlopRoof(bool bf16);  // bf16: pairs of bf16 into fp32 sums, where the CPU has an instruction for it
  Candidate candidate() const;
  double gflops(double ms) const { return flop_ / ms / 1e6; }

 private:
  bool bf16_;
  size_t steps_;  // of the loop, so that a run takes kProbeMs
  double flop_;   // a run, all threads
};

// Whether multiply-adds of bf16 have an instruction; elsewhere they take two of fp32, and the roof is the same.
extern const bool kHasBf16;

// Length of the arrays of everything bounded by memory: 128 MiB, many times the cache that a core can reach.
inline constexpr size_t kStreamFloats = size_t(32) << 20;

// a[i] = b[i] + s c[i], 12 bytes an element. In GB/s it bounds whatever streams through memory.
class Triad {
 public:
  Triad(float* a, const float* b, const float* c, size_t n) : a_(a), b_(b), c_(c), n_(n) {}
  Candidate candidate() const;
  double bytes() const { return 12.0 * double(n_); }
  double gbytes(double ms) const { return bytes() / ms / 1e6; }

 private:
  float* a_;
  const float *b_, *c_;
  size_t n_;
};
