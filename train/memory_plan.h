// How much memory a model takes, known before any of it is allocated.
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "model/config.h"

// Scratch memory for B x T tokens, in floats.
struct Workspace {
  size_t each_thread, shared;
};
Workspace workspace(const Config& config, size_t B, size_t T);

// In bytes. The token file is mapped, not counted: the system may drop its pages at any time.
struct MemoryPlan {
  size_t parameters = 0, gradients = 0, optimizer = 0;  // parameters: in either precision; optimizer: AdamW's moments
  size_t activations = 0;                               // what the forward saves, and the gradients between layers
  size_t workspace = 0;   // scratch memory of all threads; of a training run on the CPU also the order of its data
  size_t checkpoint = 0;  // always of the host: the copy from which a checkpoint is written while training goes on

  size_t total() const;  // on the backend
};

// Parameters and moments, copied to be written: 12 bytes for each parameter.
size_t checkpoint_copy_bytes(const Config& config);

// For B x T tokens at once, on the program's backend, with activations and matrices stored in S. row_words: kRowWords<N>.
// Without training there are no gradients, no moments.
template <class S = float>
MemoryPlan plan_memory(const Config& config, int row_words, size_t B, size_t T, bool training, int threads);

nlohmann::ordered_json plan_to_json(const MemoryPlan& plan);
std::string plan_text(const MemoryPlan& plan);  // one line

// Error if the plan exceeds `available` bytes: names the need, what there is, and the largest batch size that fits.
template <class S = float>
void require_memory(const Config& config, int row_words, size_t B, size_t T, bool training, int threads,
                    size_t available);
