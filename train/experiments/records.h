// What finished runs leave: train/experiments/NAME/results.csv, one row a run, and measurements.csv, their thinned
// curves and whatever else was measured, one number a row. Both are committed; a run that has its row is not run again.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "train/experiments/plan.h"

inline constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();

struct ResultRow {
  std::string run, normalizer, data, variant, group;
  double lr = 0;
  uint64_t seed = 0;
  int64_t steps = 0, tokens = 0;
  double val_loss = kMissing, test_loss = kMissing;  // nats per token over the whole split; test: not of tuning runs
  std::string status;                                // "done" or "diverged"
  double minutes = 0;                                // of training
  std::string options_hash, data_hash, git, options;
  std::string measures;  // "position=1a2b3c4d scale=..." with the hash of each measure, see measure_hash()

  // The hash with which a measure was taken, "" where it was not.
  std::string measure_hash(const std::string& name) const;

  bool diverged() const { return status == "diverged"; }
};

// One number of a run: quantity("position", 512) = 1.43. What x and y are is the quantity's own.
struct Measurement {
  std::string run, quantity;
  double x = 0, y = 0, value = 0;
};

class Records {
 public:
  // Reads the files of a folder; a file that is not there is empty. `scale` "small", or another that goes into the
  // names: results-large.csv. Error for a file that is damaged, by line.
  Records(const std::string& folder, const std::string& scale);

  const std::vector<ResultRow>& rows() const { return rows_; }
  const ResultRow* find(const std::string& run) const;
  const ResultRow* find_hash(const std::string& options_hash, const std::string& data_hash) const;
  std::vector<Measurement> measured(const std::string& run, const std::string& quantity) const;
  const std::vector<Measurement>& measurements() const { return measurements_; }

  // Replaces the run's row and those of its measurements whose quantity occurs in `measurements`, and writes the files:
  // the measurements first, so that a row stands for all of them.
  void add(const ResultRow& row, const std::vector<Measurement>& measurements);
  // Forgets the runs named, and writes the files: the rows first, for the same reason.
  void remove(const std::vector<std::string>& runs);

 private:
  void write_measurements() const;
  void write_rows() const;

  std::string results_path_, measurements_path_;
  std::vector<ResultRow> rows_;            // by name of the run
  std::vector<Measurement> measurements_;  // by run, quantity, x, y
};
