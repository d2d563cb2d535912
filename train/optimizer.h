// One update of all parameters: clipping by the global norm, then AdamW, with decay on matrices only.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/adamw.h"
#include "kernels/check.h"
#include "model/backend.h"
#include "model/parameters.h"

struct OptimizerOptions {
  double lr;  // of this update
  double beta1, beta2, weight_decay;
  double grad_clip;  // highest norm of the gradient, 0 for no limit
};

// What AdamW needs to know of update k (from 0). The gradient, whose norm is `norm`, counts times
// min(1, clip / (norm + 1e-6)), as in PyTorch's clip_grad_norm_.
AdamW adamw_step(const OptimizerOptions& options, uint64_t k, double norm);
std::vector<AdamWTensor> adamw_tensors(const std::vector<Tensor>& tensors, double weight_decay);

// sqrt of the sum of squares of all gradients, in double; `gradients` is a block of `size` floats.
inline double gradient_norm(const float* gradients, size_t size) {
  return std::sqrt(backend::sum_of_squares(gradients, size));
}

// Update k (from 0). parameters, gradients, m, v: blocks as `tensors` lays them out. Updates parameters, m and v, and
// leaves the gradients at zero. rounded: the bf16 copy of the parameters, where there is one (model/weights.h); updated
// with them.
template <class... Rounded>
void update_parameters(const std::vector<Tensor>& tensors, float* parameters, float* gradients, float* m, float* v,
                       const OptimizerOptions& options, uint64_t k, double norm, Rounded*... rounded) {
  backend::adamw_update(parameters, gradients, m, v, adamw_tensors(tensors, options.weight_decay),
                        adamw_step(options, k, norm), rounded...);
}
