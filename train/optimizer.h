// One update of all parameters: clipping by the global norm, then AdamW, with decay on matrices only.
#pragma once

#include <cstdint>
#include <vector>

#include "model/parameters.h"

struct OptimizerOptions {
  double lr;  // of this update
  double beta1, beta2, weight_decay;
  double grad_clip;  // highest norm of the gradient, 0 for no limit
};

// sqrt of the sum of squares of all gradients, in double; `gradients` is a block of `size` floats.
double gradient_norm(const float* gradients, size_t size);

// Update k (from 0). parameters, gradients, m, v: blocks as `tensors` lays them out. Updates parameters, m and v, and
// leaves the gradients at zero. The gradient counts times min(1, clip / (norm + 1e-6)), as in PyTorch's
// clip_grad_norm_.
void update_parameters(const std::vector<Tensor>& tensors, float* parameters, float* gradients, float* m, float* v,
                       const OptimizerOptions& options, uint64_t k, double norm);
