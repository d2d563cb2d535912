// RUN/metrics.jsonl: what happened in a run, one JSON object a line, appended and flushed. The records are in
// README.md, section "Metrics"; train/metrics_reader.h reads them.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

class Metrics {
 public:
  // Opens the file for appending; makes it if it does not exist. Failure if the disk refuses.
  explicit Metrics(const std::string& run);

  // Before a run goes on after `step` updates: drops every line behind the last record whose step is at most `step`;
  // without a step, every line.
  static void truncate(const std::string& run, std::optional<uint64_t> step);

  // True if the file holds the record of a finished run of at least `step` updates.
  static bool ended(const std::string& run, uint64_t step);

  // What the run's last start or resume record that has the key ("normalizer", "git", ...) says of the program; "" where
  // there is none.
  static std::string program(const std::string& run, const char* key);

  // True until the first record is written.
  bool empty() const;

  // Appends one record. Failure, with the file's name, if the disk refuses.
  void write(const nlohmann::ordered_json& record);

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
};

std::string metrics_path(const std::string& run);
