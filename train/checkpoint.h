// Checkpoints: folders as Hugging Face lays them out, RUN/checkpoints/step-00000500/, with
//   config.json            the model's shape and mathematics; model_type is `gpt2` only where Hugging Face's GPT-2
//                          computes the same thing
//   model.safetensors      the parameters, under the names and shapes of the published GPT-2
//   optimizer.safetensors  AdamW's moments: exp_avg.<name>, exp_avg_sq.<name>
//   trainer_state.json     where the run stands
//   SHA256SUMS             of the four, as `sha256sum -c` reads it
// A folder appears under its name only when everything in it is complete and synced.
#pragma once

#include <string>
#include <vector>

#include "model/config.h"

struct TrainerState;  // train/checkpoint_json.h

// RUN/checkpoints/step-<step>, whether or not it is there.
std::string checkpoint_path(const std::string& run, uint64_t step);

// --- writing ---------------------------------------------------------------------------------------------------------

// Writes RUN/checkpoints/step-<state.step>/ and returns its path. parameters, m, v: blocks as parameter_tensors(config)
// lays them out. The folder is written as step-<..>.tmp, synced and renamed; an older one of the same step is replaced.
// Then, where keep > 0, only the `keep` newest folders up to this step stay. Folders *.tmp that a killed run left are
// removed. Failure, with file and reason, if the disk refuses: then all former checkpoints are as they were.
std::string write_checkpoint(const std::string& run, const Config& config, const float* parameters, const float* m,
                             const float* v, const TrainerState& state, int keep);

// What an earlier process left that was killed, or that failed, before it had cleaned up behind its newest checkpoint:
// removes folders *.tmp and, where keep > 0, all but the `keep` newest checkpoints up to `step`. Failure if the disk refuses.
void tidy_checkpoints(const std::string& run, uint64_t step, int keep);

// --- finding ---------------------------------------------------------------------------------------------------------

enum class CheckpointUse {
  kWeights,   // evaluate, sample, --init-from: config.json and model.safetensors; sums are checked where there are any
  kTraining,  // --resume, --continue-from: all five files
};

struct FoundCheckpoint {
  std::string path;                   // the step folder; empty where a run has none yet
  std::vector<std::string> warnings;  // one sentence for each damaged checkpoint that was passed over
};

// Error, naming the file, unless the step folder holds what `use` needs and every file matches SHA256SUMS.
void verify_checkpoint(const std::string& folder, CheckpointUse use);

// The newest intact checkpoint of a run. An empty path if the run has none; Error if it has some and all are damaged.
FoundCheckpoint newest_checkpoint(const std::string& run, CheckpointUse use);

// `path` is a step folder, any folder with config.json and model.safetensors, or a run. Error if it is none of these,
// is damaged, or is a run without an intact checkpoint.
FoundCheckpoint find_checkpoint(const std::string& path, CheckpointUse use);

// --- loading ---------------------------------------------------------------------------------------------------------
// `folder` is a step folder that one of the functions above accepted. All throw Error, one sentence with the file's
// name, for a file that is missing or not as it must be.

Config load_config(const std::string& folder);
TrainerState load_trainer_state(const std::string& folder);

// How what a normalizer learns (attn.normalizer.*, normalizer.*) in the file must match that of the model.
enum class LoadMode {
  kExact,  // --resume, evaluate, sample
  kAdapt,  // --init-from, --continue-from: those that the file lacks are left as they are in the block, surplus ones
           // dropped
};

// Overwrites the tensors of the block; it is undefined after an Error. Also reads the prefix `transformer.`, F16 and
// BF16; ignores the mask buffers attn.bias and attn.masked_bias, and lm_head.weight if the model's head is tied and the
// tensor equals wte.weight. Any other unknown, missing or misshapen tensor is an Error, by name. Returns one line for
// each kind of those that kAdapt left or dropped.
std::vector<std::string> load_parameters(const std::string& folder, const Config& config, float* block, LoadMode mode);

// The same for AdamW's moments. With kAdapt, moments that the file lacks are left as they are: zero in a new block.
std::vector<std::string> load_optimizer(const std::string& folder, const Config& config, float* m, float* v,
                                        LoadMode mode);
