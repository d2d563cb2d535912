#include "train/optimizer.h"

#include <algorithm>

namespace {

// beta^k by repeated squaring: no libm in the step.
double power(double beta, uint64_t k) {
  double result = 1;
  for (; k > 0; k /= 2, beta *= beta)
    if (k % 2 == 1) result *= beta;
  return result;
}

}  // namespace

AdamW adamw_step(const OptimizerOptions& options, uint64_t k, double norm) {
  AdamW step;
  step.lr = float(options.lr);
  step.beta1 = float(options.beta1);
  step.beta2 = float(options.beta2);
  step.correction1 = float(1 - power(options.beta1, k + 1));
  step.correction2 = float(1 - power(options.beta2, k + 1));
  step.grad_scale = options.grad_clip > 0 ? float(std::min(1.0, options.grad_clip / (norm + 1e-6))) : 1.0f;
  return step;
}

std::vector<AdamWTensor> adamw_tensors(const std::vector<Tensor>& tensors, double weight_decay) {
  std::vector<AdamWTensor> updated;
  for (const Tensor& tensor : tensors)
    updated.push_back({tensor.offset, tensor.size, tensor.decays() ? float(weight_decay) : 0.0f});
  return updated;
}
