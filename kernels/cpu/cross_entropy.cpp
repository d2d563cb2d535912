#include "kernels/cross_entropy.h"

#include "kernels/cpu/parallel.h"
#include "kernels/normalizer/math.h"

namespace cpu {

using num::for_each_pack;
using num::Pack;

namespace {
constexpr size_t kRows = 4;  // rows a job

float largest(const float* x, size_t n) {
  float most = x[0];
  Pack lanes_most(x[0]);
  for_each_pack(n, [&](size_t i, size_t lanes) {
    if (lanes == num::kPackWidth)
      lanes_most = num::max(lanes_most, Pack::load(x + i));
    else
      for (; i < n; i++) most = num::max(most, x[i]);
  });
  float each[num::kPackWidth];
  lanes_most.store(each);
  for (float candidate : each) most = num::max(most, candidate);
  return most;
}
}  // namespace

void cross_entropy_forward(float* losses, float* logits, const int32_t* targets, size_t BT, size_t V) {
  parallel_blocks(BT, kRows, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) {
      float* row = logits + i * V;
      const float target = row[targets[i]];

      // 1. the largest logit, so that exp cannot overflow
      const float max = largest(row, V);

      // 2. exp and its sum
      Pack sums(0);
      for_each_pack(V, [&](size_t v, size_t lanes) {
        Pack e = num::first(num::exp(Pack::load(row + v, lanes) - Pack(max)), lanes);
        sums += e;
        e.store(row + v, lanes);
      });
      const float sum = sums.sum();
      losses[i] = num::log(sum) - (target - max);

      // 3. probabilities
      Pack scale(1 / sum);
      for_each_pack(V, [&](size_t v, size_t lanes) { (Pack::load(row + v, lanes) * scale).store(row + v, lanes); });
    }
  });
}

void cross_entropy_backward(float* probabilities, const int32_t* targets, float scale, size_t BT, size_t V) {
  parallel_blocks(BT, kRows, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) {
      float* row = probabilities + i * V;
      row[targets[i]] -= 1;
      for_each_pack(V,
                    [&](size_t v, size_t lanes) { (Pack::load(row + v, lanes) * Pack(scale)).store(row + v, lanes); });
    }
  });
}

}  // namespace cpu
