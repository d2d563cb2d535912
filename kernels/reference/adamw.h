// AdamW, written as plainly as it can be. Contract: kernels/adamw.h, for one tensor of n numbers of type Real.
#pragma once

#include <cmath>
#include <cstddef>

#include "kernels/adamw.h"

namespace reference {

template <class Real>
void adamw_update(Real* param, Real* grad, Real* m, Real* v, size_t n, float decay, const AdamW& step) {
  const Real lr = step.lr, beta1 = step.beta1, beta2 = step.beta2;
  for (size_t i = 0; i < n; i++) {
    Real g = Real(step.grad_scale) * grad[i];
    param[i] -= lr * Real(decay) * param[i];
    m[i] = beta1 * m[i] + (1 - beta1) * g;
    v[i] = beta2 * v[i] + (1 - beta2) * g * g;
    Real first = m[i] / Real(step.correction1), second = v[i] / Real(step.correction2);
    param[i] -= lr * first / (std::sqrt(second) + Real(kAdamEps));
    grad[i] = 0;
  }
}

}  // namespace reference
