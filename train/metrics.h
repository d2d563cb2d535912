// RUN/metrics.jsonl: what happened in a run, one JSON object a line, appended at once. The records are in README.md,
// section "Metrics"; train/metrics_reader.h reads them.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "data/file_descriptor.h"

class Metrics {
 public:
  // Opens the file for appending; makes it if it does not exist. Failure if the disk refuses.
  explicit Metrics(const std::string& run);

  // Before a run goes on after `step` updates: drops every line from the first on that tells of a later step, and a line
  // that a kill has torn; without a step, every line.
  static void truncate(const std::string& run, std::optional<uint64_t> step);

  // True if the file holds the record of a finished run of at least `step` updates.
  static bool ended(const std::string& run, uint64_t step);

  // True if it holds an evaluation after `step` updates on so many tokens.
  static bool evaluated(const std::string& run, uint64_t step, uint64_t tokens);

  // What the run's last start or resume record that has the key ("normalizer", "git", ...) says of the program; "" where
  // there is none.
  static std::string program(const std::string& run, const char* key);

  // The tokenizer of the run's data, as its start record has it; "" where there is none.
  static std::string tokenizer(const std::string& run);

  // True until the first record is written.
  bool empty() const;

  // Appends one record as a whole line or, where the disk refuses or the file has been removed, not at all: Failure.
  void write(const nlohmann::ordered_json& record);

  // Waits until all that was written has reached the disk. Another thread may write meanwhile.
  void sync() const;

 private:
  [[noreturn]] void fail() const;

  std::string path_;
  FileDescriptor file_;
};

std::string metrics_path(const std::string& run);
