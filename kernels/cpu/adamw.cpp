#include "kernels/adamw.h"

#include "kernels/cpu/pack.h"
#include "kernels/cpu/parallel.h"

namespace cpu {

using num::Pack;

void adamw_update(float* param, float* grad, float* m, float* v, size_t n, const AdamW& step) {
  const Pack beta1(step.beta1), beta2(step.beta2), rest1(1 - step.beta1), rest2(1 - step.beta2);
  const Pack keep(1 - step.lr * step.decay), rate(step.lr / step.correction1);
  const Pack over_root2(1 / __builtin_sqrtf(step.correction2)), grad_scale(step.grad_scale), eps(kAdamEps);
  parallel_blocks(n, 4096, [&](size_t begin, size_t end) {
    num::for_each_pack(end - begin, [&](size_t i, size_t lanes) {
      i += begin;
      Pack g = Pack::load(grad + i, lanes) * grad_scale;
      Pack m_i = num::fma(rest1, g, beta1 * Pack::load(m + i, lanes));
      Pack v_i = num::fma(rest2 * g, g, beta2 * Pack::load(v + i, lanes));
      Pack denominator = num::fma(num::sqrt(v_i), over_root2, eps);
      Pack p = Pack::load(param + i, lanes) * keep - rate * m_i / denominator;
      p.store(param + i, lanes);
      m_i.store(m + i, lanes);
      v_i.store(v + i, lanes);
      Pack(0).store(grad + i, lanes);
    });
  });
}

}  // namespace cpu
