#include "kernels/check.h"

#include <cmath>
#include <vector>

#include "kernels/cpu/parallel.h"

namespace cpu {

double sum_of_squares(const float* x, size_t n) {
  constexpr size_t kBlock = 16384, kLanes = 8;
  std::vector<double> partial(divide_up(n, kBlock));
  parallel_blocks(n, kBlock, [&](size_t begin, size_t end) {
    double sums[kLanes] = {};
    size_t i = begin;
    for (; i + kLanes <= end; i += kLanes)
      for (size_t lane = 0; lane < kLanes; lane++) sums[lane] += double(x[i + lane]) * double(x[i + lane]);
    for (; i < end; i++) sums[0] += double(x[i]) * double(x[i]);
    double sum = 0;
    for (double lane : sums) sum += lane;
    partial[begin / kBlock] = sum;
  });
  double sum = 0;
  for (double block : partial) sum += block;
  return sum;
}

size_t first_nonfinite(const float* x, size_t n) {
  size_t i = 0;
  while (i < n && std::isfinite(x[i])) i++;
  return i;
}

}  // namespace cpu
