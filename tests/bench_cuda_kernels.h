// The calls of a training step on the GPU, one by one and as a whole, on the memory of a real model: a step was done on
// it, so that every kernel meets the numbers that it would meet. The names are those of bench_cuda_model.h.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/config.h"

struct CudaCalls {
  std::map<std::string, std::function<void()>> of_step;  // with softmax; by Call::name
  // Attention of other normalizers: "attention forward", "attention backward", by name of the normalizer.
  std::map<std::string, std::map<std::string, std::function<void()>>> of_normalizer;
  std::function<void()> step;
  std::function<double()> loss;  // of the last step, in nats: about ln V, as the model stays where it starts
  std::shared_ptr<void> memory;
};

// bf16: stored and multiplied in bf16, else in fp32. Error if the device has too little memory.
CudaCalls cuda_calls(const Config& config, size_t B, bool bf16);

// Milliseconds that the device needs for each of `rounds` runs, after one that is not timed. Before each its caches are
// filled with something else.
std::vector<double> device_times(const std::function<void()>& run, int rounds);
