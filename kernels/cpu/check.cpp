#include "kernels/check.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "kernels/cpu/pack.h"
#include "kernels/cpu/parallel.h"

namespace cpu {

using num::Pack;

namespace {

constexpr size_t kPieces = 1024;  // at most

// What of_block(begin, end) returns for each of at most kPieces pieces of [0, n), in their order; `rest` behind them.
template <class Result, class F>
std::array<Result, kPieces> for_blocks(size_t n, Result rest, F of_block) {
  const size_t block = std::max<size_t>(16384, divide_up(n, kPieces));
  std::array<Result, kPieces> results;
  results.fill(rest);
  parallel_blocks(n, block, [&](size_t begin, size_t end) { results[begin / block] = of_block(begin, end); });
  return results;
}

}  // namespace

double sum_of_squares(const float* x, size_t n) {
  // 8 numbers at a time, in 4 sums of each, so that no addition waits for the one before
  constexpr size_t kLanes = 8, kSums = 4;
  typedef float Floats __attribute__((vector_size(kLanes * sizeof(float))));
  typedef double Doubles __attribute__((vector_size(kLanes * sizeof(double))));
  const auto blocks = for_blocks(n, 0.0, [&](size_t begin, size_t end) {
    Doubles sums[kSums] = {};
    size_t i = begin;
    for (; i + kSums * kLanes <= end; i += kSums * kLanes)
      for (size_t s = 0; s < kSums; s++) {
        Floats floats;
        std::memcpy(&floats, x + i + s * kLanes, sizeof floats);
        Doubles doubles = __builtin_convertvector(floats, Doubles);
        sums[s] += doubles * doubles;
      }
    double sum = 0;
    for (; i < end; i++) sum += double(x[i]) * double(x[i]);
    Doubles all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    for (size_t lane = 0; lane < kLanes; lane++) sum += all[lane];
    return sum;
  });
  double sum = 0;
  for (double block : blocks) sum += block;
  return sum;
}

size_t first_nonfinite(const float* x, size_t n) {
  const auto blocks = for_blocks(n, n, [&](size_t begin, size_t end) {
    Pack zeros(0);  // x - x is NaN where x is not finite
    num::for_each_pack(end - begin, [&](size_t i, size_t lanes) {
      Pack element = Pack::load(x + begin + i, lanes);
      zeros += element - element;
    });
    if (zeros.sum() == 0) return n;
    return size_t(std::find_if_not(x + begin, x + end, [](float element) { return std::isfinite(element); }) - x);
  });
  return *std::min_element(blocks.begin(), blocks.end());
}

}  // namespace cpu
