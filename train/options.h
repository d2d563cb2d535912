// Every option of `train`: one struct of defaults, from which come the help text, the options in the log and in
// trainer_state.json, and RUN/options.ini. The table that drives all of them is at the top of options.cpp.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>

#include "model/config.h"

// The defaults are those of the preset `small`. After parse_train_options() every field holds the value in effect.
struct TrainOptions {
  // Data
  std::string data;        // folder of token files; exactly one of data and text is given
  std::string text;        // text file, its bytes are the tokens
  int vocab_size = 0;      // 0: from the data
  int batch_size = 16;     // B, rows of one micro-batch
  int seq_len = 256;       // T
  int grad_accum = 1;      // micro-batches per update
  uint64_t data_seed = 1;  // as seed unless given
  std::string order = "shuffled";

  // Model
  std::string preset = "small";
  int layers = 4;
  int heads = 4;
  int channels = 128;
  std::string position = "rope";  // a name that position_from_name() knows
  double rope_theta = 10000;
  bool untied = false;
  double scale_init = 0;  // s of the normalizers that learn it; 0: see initial_scale
  uint64_t seed = 1;
  double init_noise = 0;  // relative change of every initial weight, see perturb_parameters()

  // Training
  int steps = 600;
  double lr = 4e-3;
  double min_lr = 4e-4;  // lr/10 unless given
  int warmup_steps = 60;
  std::string schedule = "cosine";
  double weight_decay = 0.1;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double grad_clip = 1;  // 0: off
  bool tf32 = false;     // on a GPU: products of fp32 operands may round them
  std::string init_from;
  std::string continue_from;

  // Output. All of *_every count updates; the last update is always evaluated and saved.
  std::string out;       // runs/<preset>-<variant>-s<seed> unless given
  int eval_every = 100;  // 0: only at the end
  int64_t eval_tokens = 65536;
  int checkpoint_every = 100;    // 0: only at the end
  int keep = 2;                  // newest checkpoints that stay on disk; 0: all
  bool checkpoint_sync = false;  // true: training waits while a checkpoint is written
  int log_every = 10;
  int attention_every = 100;  // 0: never; else of update 1 too, which sees the initial weights
  int threads = 0;            // 0: set_threads() of train/threads.h chooses

  // What this call asks for; not saved with the run
  std::string program = "train";  // the first word of the command line, for commands in messages
  bool resume = false;
  int check_from = 0;  // the update from which on the output of every kernel is searched for NaN and infinity; 0: never
  bool dry_run = false;

  std::set<std::string> given;  // the options that the command line or --config named, as "batch-size"
};

// Reads the command line of `train` with this precedence: command line, --config, preset, defaults. With --resume,
// `out` is the run and the rest matters only through merge_resume(). Throws Error, or HelpRequest for --help.
TrainOptions parse_train_options(int argc, const char* const* argv, const std::string& variant);

// Every saved option by its name on the command line, in the order of the help.
nlohmann::ordered_json options_to_json(const TrainOptions& options);

// The reverse. `file` is named in errors: a missing key, an unknown one, a value that the command line would refuse.
TrainOptions options_from_json(const nlohmann::ordered_json& json, const std::string& file);

// The options that runs of former versions do not record, with the value that such runs had.
nlohmann::ordered_json newer_options();

// Writes the options so that `train --config path --out NEW` repeats the run. Failure where the disk refuses.
void write_options_ini(const std::string& path, const TrainOptions& options);

// The options of a resumed run: those of the run, `saved`, except what asked.given names among steps, threads, keep,
// checkpoint-sync and the *-every and eval-tokens options. Error where asked.given contradicts the run in anything else.
// `out` is the asked one: the run may have moved. So may its data: another path is taken where the saved one leads to the
// same place or nowhere, as for a relative path from another folder; the hashes in trainer_state.json tell whether it is
// the same.
TrainOptions merge_resume(const TrainOptions& saved, const TrainOptions& asked);

// For --init-from and --continue-from: sets the model's shape to that of `checkpoint`, read from `path`. Error where an
// option in options.given contradicts it. seq_len becomes checkpoint.T unless it is given.
void take_shape(TrainOptions& options, const Config& checkpoint, const std::string& path);
