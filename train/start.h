// Before a training run: where it starts, on which data, in which folder. Everything here objects, with one sentence, before
// anything is written.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "model/config.h"
#include "train/options.h"

// Where a run starts: its model, its options and, unless it starts from nothing, a checkpoint.
struct Start {
  TrainOptions options;
  Config config;
  std::string checkpoint;  // empty: from initial weights
  bool resumed = false;    // the checkpoint is the run's own
  bool with_optimizer = false;
  uint64_t step = 0;                               // updates already done
  std::map<std::string, std::string> data_sha256;  // of a resumed run: the token files it was trained on
  std::vector<std::string> log;
};

// A new run, from nothing or from a checkpoint whose shape it takes; or, with --resume, one that exists, from its newest
// intact checkpoint. `normalizer`, `precision`, `on_gpu`: what this
// program is built for. Error where the options contradict what is there.
Start start_run(const TrainOptions& asked, const std::string& normalizer, const std::string& precision, bool on_gpu);

// Completes the model: without a checkpoint its shape comes from the options, its normalizer always from the program.
void complete_config(Start& start, int vocab_size, const std::string& normalizer, int normalizer_params,
                     bool length_scale = false);

// The tokens of --data, or of --text, which are written to text_folder(); a run that goes on has the latter already.
Dataset open_data(const Start& start);
std::filesystem::path text_folder(const TrainOptions& options);

// The run folder: not one that holds a run already; it, or the nearest above it that exists, a folder that takes files.
void refuse_used_folder(const TrainOptions& options);
void require_writable(const std::string& folder);
void make_folder(const std::string& folder);

// Removes a folder, and those above it that were made for it, unless the run begins: it is locked, and --text writes
// tokens into it, before it is known whether the model fits.
class NewFolder {
 public:
  explicit NewFolder(const std::filesystem::path& folder);
  ~NewFolder();
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;

  void keep() { made_.clear(); }

 private:
  std::vector<std::filesystem::path> made_;  // the innermost first
};
