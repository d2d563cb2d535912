#include "kernels/adamw.h"

#include "kernels/cpu/pack.h"
#include "kernels/cpu/parallel.h"

namespace cpu {

using num::Pack;

namespace {

constexpr size_t kBlock = 16384;  // numbers a job

struct Blocks {
  float *param, *grad, *m, *v;
};

// Numbers begin .. end - 1 of the blocks, all of one tensor.
void update_range(const Blocks& x, size_t begin, size_t end, float decay, const AdamW& step) {
  const Pack beta1(step.beta1), beta2(step.beta2), rest1(1 - step.beta1), rest2(1 - step.beta2);
  const Pack keep(1 - step.lr * decay), rate(step.lr / step.correction1);
  const Pack over_root2(1 / __builtin_sqrtf(step.correction2)), grad_scale(step.grad_scale), eps(kAdamEps);
  num::for_each_pack(end - begin, [&](size_t i, size_t lanes) {
    i += begin;
    Pack g = Pack::load(x.grad + i, lanes) * grad_scale;
    Pack m_i = num::fma(rest1, g, beta1 * Pack::load(x.m + i, lanes));
    Pack v_i = num::fma(rest2 * g, g, beta2 * Pack::load(x.v + i, lanes));
    Pack denominator = num::fma(num::sqrt(v_i), over_root2, eps);
    Pack p = Pack::load(x.param + i, lanes) * keep - rate * m_i / denominator;
    p.store(x.param + i, lanes);
    m_i.store(x.m + i, lanes);
    v_i.store(x.v + i, lanes);
    Pack(0).store(x.grad + i, lanes);
  });
}

}  // namespace

// The blocks are cut into jobs wherever tensors begin and end: a model has many small ones.
void adamw_update(float* param, float* grad, float* m, float* v, const std::vector<AdamWTensor>& tensors,
                  const AdamW& step) {
  if (tensors.empty()) return;
  const size_t floats = tensors.back().offset + tensors.back().size;
  parallel_blocks(floats, kBlock, [&](size_t begin, size_t end) {
    auto ends_behind = [](size_t at, const AdamWTensor& tensor) { return at < tensor.offset + tensor.size; };
    auto tensor = std::upper_bound(tensors.begin(), tensors.end(), begin, ends_behind);
    for (; tensor != tensors.end() && tensor->offset < end; ++tensor)
      update_range({param, grad, m, v}, std::max(begin, tensor->offset), std::min(end, tensor->offset + tensor->size),
                   tensor->decay, step);
  });
}

}  // namespace cpu
