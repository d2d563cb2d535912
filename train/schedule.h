// The learning rate of every update.
#pragma once

#include <algorithm>

#include "kernels/portable_math.h"
#include "train/options.h"

// Rate of update k (from 0): lr (k+1)/warmup while k < warmup; then constant, or a half cosine from lr to min_lr:
//   min_lr + (lr - min_lr) (1 + cos(pi (k - warmup) / max(1, steps - warmup))) / 2
inline double learning_rate(const TrainOptions& options, int k) {
  const int warmup = options.warmup_steps;
  if (k < warmup) return options.lr * (k + 1) / warmup;
  if (options.schedule == "constant") return options.lr;
  const double progress = double(k - warmup) / std::max(1, options.steps - warmup);
  return options.min_lr + (options.lr - options.min_lr) * (1 + portable::cosine_sine(progress / 2).cosine) / 2;
}
