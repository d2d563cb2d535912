// What compare says about a set of runs: groups by normalizer, their final losses, the differences from a baseline, the
// curves, and what else differs between the runs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "train/metrics_reader.h"
#include "train/statistics.h"

// The runs of one normalizer with different seeds. Where runs share normalizer and seed but not their options, each
// set of options is a group of its own.
struct Group {
  std::string label;  // "ssmax", or "ssmax lr=0.002"
  std::string normalizer;
  std::vector<Run> runs;  // by seed; all of them, finished or not

  // Over the runs with a final validation loss (`loss.count` of them): nats per token and bits per byte.
  Estimate loss, bits_per_byte;
  Estimate
      difference;  // of that loss from the baseline's, over the common seeds; from the two means where there is none
  std::size_t pairs = 0;  // common seeds behind `difference`

  double tokens_per_s = Run::kUnknown, minutes = Run::kUnknown;  // means over the finished runs
  double peak_bytes = Run::kUnknown;                             // largest
  std::string sample;
};

// A setting that is not the same in all runs.
struct SettingDifference {
  std::string name;
  bool harmless;     // by design without effect on any loss, such as threads
  std::string text;  // "lr: 0.001 (runs/a), 0.002 (runs/b)"
};

struct Comparison {
  std::vector<Group> groups;  // the baseline first, then by loss; those without a loss last
  bool has_baseline = false;  // whether groups[0] is a baseline
  std::vector<SettingDifference> differences;
  std::vector<std::string> notes;  // about single runs, one sentence each
  int smoothing = 1;               // steps in the running mean of a training loss, odd
};

// Groups the runs. `baseline`: a normalizer or a group's label. Error if the runs were trained on different data, or if
// there is no such baseline although `baseline_required`.
Comparison compare_runs(std::vector<Run> runs, const std::string& baseline, bool baseline_required);

// Centred running mean over `window` values, fewer at the ends: as many on both sides at the start, where losses fall
// fast, and whatever is left at the end. Values that are not finite are left out.
std::vector<double> running_mean(const std::vector<double>& values, int window);

struct CurvePoint {
  std::int64_t step;
  double tokens;  // trained on so far
  Estimate loss;  // over seeds, nats per token
};
using Curve = std::vector<CurvePoint>;

// Means over the finished runs of a group (over all where none is finished) at the steps that all of these recorded.
Curve training_curve(const Group& group, int smoothing);
Curve validation_curve(const Group& group);  // the evaluations during training, on the first --eval-tokens
// Validation loss minus the baseline's at the steps both have; paired by seed where seeds are common.
Curve difference_curve(const Group& group, const Group& baseline);

// The texts of the terminal. Each ends with a newline or is empty.
std::string table_text(const Comparison& comparison);
std::string remarks_text(const Comparison& comparison);  // what differs between the runs, and what happened to them
std::string samples_text(const Comparison& comparison);
std::string promises_text(const Comparison& comparison);  // error bars, and which reproducibility to expect

// Every training and validation loss, one a line, with a header.
std::string csv_text(const Comparison& comparison);

std::string fixed_text(double value, int decimals);   // "-" for NaN
std::string signed_text(double value, int decimals);  // "+0.0123", "−0.0123", "-" for NaN
