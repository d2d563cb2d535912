// How tokens are drawn from what a model predicts.
#pragma once

#include <cstdint>

struct SamplingOptions {
  double temperature = 0.8;  // logits are divided by it; 0 takes the likeliest token
  int top_k = 0;             // only the k likeliest tokens are candidates; 0: all
  uint64_t seed = 1;
};
