// A model that was trained earlier, ready for a forward: what evaluate and sample have in common.
#pragma once

#include <cstdio>
#include <string>

#include "data/error.h"
#include "kernels/normalizer/normalizer.h"
#include "model/activations.h"
#include "model/backend.h"
#include "model/weights.h"
#include "train/checkpoint.h"
#include "train/console.h"
#include "train/device.h"
#include "train/memory_plan.h"

struct TrainedModel {
  using S = backend::Storage<SelectedPrecision>;

  std::string path;  // the step folder
  Config config;
  Weights<S> weights;
  backend::Memory activation_memory;
  Activations<S> a;

  // Reads the shape; the tensors come with load(). Error unless the checkpoint is intact and of this program's
  // normalizer.
  TrainedModel(const std::string& checkpoint, const char* program) {
    FoundCheckpoint found = find_checkpoint(checkpoint, CheckpointUse::kWeights);
    for (const std::string& warning : found.warnings) std::fprintf(stderr, "%s: %s\n", program, warning.c_str());
    path = found.path;
    config = load_config(path);
    if (config.normalizer != kSelectedName)
      throw Error("checkpoint '" + path + "' was trained with " + config.normalizer +
                  ", and this program is built for " + kSelectedName + "; use build/" + config.normalizer + "/" +
                  program);
    config.normalizer_params = SelectedNormalizer::params;
  }

  // Allocates for B x T tokens at once and reads the tensors; returns the plan. T may not exceed what
  // the model has learned positions or scales for.
  MemoryPlan load(size_t B, size_t T, const ThreadCount& threads) {
    require_learned_lengths(config, T, "the model");
    constexpr int kWords = kRowWords<SelectedNormalizer>;
    const DeviceFacts device = backend::describe_device(threads, false);
    require_memory<S>(config, kWords, B, T, false, threads.threads, device.free_bytes);
    weights = Weights<S>(config);
    activation_memory = backend::Memory(activation_floats<S>(config, kWords, B, T, false));
    const Workspace scratch = workspace(config, B, T);
    backend::reserve_scratch(scratch.each_thread, scratch.shared);
    a = view_activations<S>(config, kWords, B, T, false, activation_memory.data());
    weights.fill([&](float* parameters) { load_parameters(path, config, parameters, LoadMode::kExact); });
    return plan_memory<S>(config, kWords, B, T, false, threads.threads);
  }
};
