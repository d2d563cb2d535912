// Reads RUN/metrics.jsonl, the record that train leaves of a run (one JSON object a line), for compare.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <limits>
#include <map>
#include <string>
#include <vector>

struct StepRecord {
  std::int64_t step = 0;  // updates finished
  double tokens = 0;      // trained on so far
  double loss = 0;        // nats per token; NaN where it was not finite
  double milliseconds = 0;
};

struct EvalRecord {
  std::int64_t step = 0;
  std::string split;           // "val" or another part of the data
  double loss = 0;             // nats per token
  double bits_per_byte = 0;    // NaN where the number of bytes is unknown
  std::int64_t evaluated = 0;  // tokens that were predicted
};

enum class RunState { kFinished, kUnfinished, kNonFinite };

struct Run {
  static constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

  std::string path;        // as given
  std::string normalizer;  // and precision, as in variant.h: softmax, softmax-bf16
  std::string seed, data_seed;
  std::map<std::string, std::string> settings;  // "device", "git", ... and each option by its name with dashes, as text
  std::map<std::string, std::string> data_hashes;  // SHA-256 of the token files by split
  std::vector<StepRecord> steps;                   // steps ascending
  std::vector<EvalRecord> evals;                   // steps ascending
  RunState state = RunState::kUnfinished;
  std::int64_t last_step = 0;          // of any record
  std::int64_t tokens_per_update = 0;  // 0 where neither options nor records tell
  double tokens_per_s = kUnknown;      // of the whole training
  double seconds = kUnknown;
  double peak_bytes = kUnknown;
  std::string sample;              // text the trained model wrote
  std::vector<std::string> notes;  // what was unusual about the file, one sentence each

  std::string state_text() const;  // "finished", "unfinished at step 250", "not finite at step 250"

  // The validation loss a finished run is judged by: that of its last step, over the whole split. nullptr where there
  // is none.
  const EvalRecord* final_evaluation() const;

  double tokens_at(std::int64_t step) const {
    return static_cast<double>(step) * static_cast<double>(tokens_per_update);
  }
};

// Reads folder/metrics.jsonl. A `resume` record replaces what the file holds beyond its step; an unfinished last line
// is left out with a note. Error, with the line, for anything else that is not as train writes it.
Run read_run(const std::string& folder);

// The same from an open file; file_name begins the messages, `folder` becomes the run's path.
Run read_metrics(std::istream& file, const std::string& file_name, const std::string& folder);
