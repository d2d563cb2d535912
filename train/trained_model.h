// A model that was trained earlier, ready for a forward: what evaluate and sample have in common.
#pragma once

#include <cstdio>
#include <string>

#include "data/error.h"
#include "kernels/cpu/parallel.h"
#include "kernels/normalizer/normalizer.h"
#include "model/activations.h"
#include "model/buffer.h"
#include "model/parameters.h"
#include "train/checkpoint.h"
#include "train/console.h"
#include "train/memory.h"
#include "train/memory_plan.h"

struct TrainedModel {
  std::string path;  // the step folder
  Config config;
  Buffer parameters, activation_memory;
  Parameters p;
  Activations a;

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

  // Allocates for B x T tokens at once and reads the tensors. With learned positions T may not exceed those of the
  // model.
  void load(size_t B, size_t T, int threads) {
    if (config.position == Position::kLearned && T > size_t(config.T))
      throw Error("--seq-len is " + std::to_string(T) + ", but the model has learned positions for " +
                  std::to_string(config.T) + " tokens; use at most that");
    require_memory(config, kRowWords<SelectedNormalizer>, B, T, false, threads, available_memory_bytes());
    parameters = Buffer(parameter_floats(config));
    activation_memory = Buffer(activation_floats(config, kRowWords<SelectedNormalizer>, B, T, false));
    const Workspace scratch = workspace(config, B, T);
    cpu::reserve_scratch(scratch.each_thread, scratch.shared);
    p = view_parameters(config, parameters.data());
    a = view_activations(config, kRowWords<SelectedNormalizer>, B, T, false, activation_memory.data());
    load_parameters(path, config, parameters.data(), LoadMode::kExact);
  }
};
