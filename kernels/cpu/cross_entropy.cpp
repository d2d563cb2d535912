#include "kernels/cross_entropy.h"

#include "kernels/cpu/parallel.h"
#include "kernels/normalizer/math.h"

namespace cpu {

using num::for_each_pack;
using num::Pack;

namespace {

constexpr size_t kLeastRows = 8;  // a job

float largest(const float* x, size_t n) {
  constexpr size_t kChains = 4, W = num::kPackWidth;  // so that no comparison waits for the one before
  Pack most[kChains];
  for (Pack& chain : most) chain = Pack(x[0]);
  size_t i = 0;
  for (; i + kChains * W <= n; i += kChains * W)
    for (size_t chain = 0; chain < kChains; chain++) most[chain] = num::max(most[chain], Pack::load(x + i + chain * W));
  float each[W];
  num::max(num::max(most[0], most[1]), num::max(most[2], most[3])).store(each);
  float result = x[0];
  for (float candidate : each) result = num::max(result, candidate);
  for (; i < n; i++) result = num::max(result, x[i]);
  return result;
}

// The loss of one row (V), and the row's sum of exp(logit - max). Calls visit(v, exp's of a pack, lanes) on the way.
struct RowLoss {
  float loss, sum;
};
template <class F>
RowLoss loss_of_row(const float* row, int32_t target, size_t V, const float* next, F visit) {
  const float target_logit = row[target];  // visit may overwrite it

  // 1. the largest logit, so that exp cannot overflow
  const float max = largest(row, V);

  // 2. exp and its sum
  Pack sums(0);
  for_each_pack(V, [&](size_t v, size_t lanes) {
    Pack e = num::first(num::exp(Pack::load(row + v, lanes) - Pack(max)), lanes);
    sums += e;
    if (next) __builtin_prefetch(next + v, 0, 2);
    visit(v, e, lanes);
  });
  const float sum = sums.sum();
  return {num::log(sum) - (target_logit - max), sum};
}

}  // namespace

void cross_entropy_forward(float* losses, const float* logits, const int32_t* targets, size_t BT, size_t V) {
  parallel_blocks(BT, block_length(BT, kLeastRows), [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++)
      losses[i] = loss_of_row(logits + i * V, targets[i], V, i + 1 < end ? logits + (i + 1) * V : nullptr,
                              [](size_t, Pack, size_t) {})
                      .loss;
  });
}

void cross_entropy_forward_backward(float* losses, float* logits, const int32_t* targets, float scale, size_t BT,
                                    size_t V) {
  parallel_blocks(BT, block_length(BT, kLeastRows), [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) {
      float* row = logits + i * V;
      const RowLoss found = loss_of_row(row, targets[i], V, i + 1 < end ? row + V : nullptr,
                                        [&](size_t v, Pack e, size_t lanes) { e.store(row + v, lanes); });
      losses[i] = found.loss;

      // 3. probabilities, and in the same breath gradients
      const Pack share(scale / found.sum);
      for_each_pack(V, [&](size_t v, size_t lanes) { (Pack::load(row + v, lanes) * share).store(row + v, lanes); });
      row[targets[i]] -= scale;
    }
  });
}

}  // namespace cpu
