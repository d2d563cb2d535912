#include "tests/bench_roof.h"

#include "kernels/cpu/pack.h"
#include "kernels/cpu/parallel.h"
#ifdef _OPENMP
#include <omp.h>
#endif

using num::Pack;

namespace {

constexpr double kProbeMs = 4;  // shorter ones read 10 to 20 % too low: clock and threads wake up slowly

// As many independent sums as registers hold beside the operands, so that the latency of the multiply-add is hidden.
#if defined(__AVX512F__) || defined(__ARM_NEON)
constexpr int kSums = 24;
#else
constexpr int kSums = 12;
#endif

volatile float sink;  // so that no sum is dropped
volatile float one = 1;

// Each returns the flop it has done on this thread.
double fp32_loop(size_t steps) {
  Pack sums[kSums], factor(one), addend(one - 1);
  for (Pack& sum : sums) sum = factor;
  for (size_t i = 0; i < steps; i++)
#pragma GCC unroll 24
    for (int s = 0; s < kSums; s++) sums[s] = num::fma(sums[s], factor, addend);
  Pack total(0);
  for (Pack sum : sums) total += sum;
  sink = total.sum();
  return 2.0 * num::kPackWidth * kSums * double(steps);
}

#ifdef __AVX512BF16__
double bf16_loop(size_t steps) {
  __m512 sums[kSums];
  const __m512bh a = (__m512bh)_mm512_set1_epi16(short(one)), b = (__m512bh)_mm512_set1_epi16(short(one - 1));
  for (__m512& sum : sums) sum = _mm512_set1_ps(one);
  for (size_t i = 0; i < steps; i++)
#pragma GCC unroll 24
    for (int s = 0; s < kSums; s++) sums[s] = _mm512_dpbf16_ps(sums[s], a, b);
  Pack total(0);
  for (__m512 sum : sums) total += Pack(Pack::Floats(sum));
  sink = total.sum();
  return 4.0 * num::kPackWidth * kSums * double(steps);
}
#else
double bf16_loop(size_t steps) { return fp32_loop(steps); }
#endif

double probe(bool bf16, size_t steps) {
  double flop = 0;
#pragma omp parallel reduction(+ : flop)
  flop += bf16 ? bf16_loop(steps) : fp32_loop(steps);
  return flop;
}

}  // namespace

#ifdef __AVX512BF16__
const bool kHasBf16 = true;
#else
const bool kHasBf16 = false;
#endif

FlopRoof::FlopRoof(bool bf16) : bf16_(bf16), steps_(10000) {
  double fastest = 1e9;
  for (int i = 0; i < 5; i++) {
    double start = now_ms();
    probe(bf16, steps_);
    fastest = std::min(fastest, now_ms() - start);
  }
  steps_ = size_t(double(steps_) * kProbeMs / fastest);
  flop_ = probe(bf16, steps_);
}

Candidate FlopRoof::candidate() const {
  return {.run = [bf16 = bf16_, steps = steps_] { probe(bf16, steps); }, .is_probe = true};
}

Candidate Triad::candidate() const {
  return {[a = a_, b = b_, c = c_, n = n_] {
    constexpr size_t kBlock = size_t(1) << 16;
    cpu::parallel_blocks(n, kBlock, [&](size_t begin, size_t end) {
#pragma omp simd
      for (size_t i = begin; i < end; i++) a[i] = b[i] + 3 * c[i];
    });
  }};
}
