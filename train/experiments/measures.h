// What is measured of a trained model beside its losses: the kinds of `measures` in experiment.json.
#pragma once

#include <string>
#include <vector>

#include "train/experiments/plan.h"
#include "train/experiments/records.h"
#include "train/metrics_reader.h"

struct MeasuredRun {
  const RunPlan& plan;
  const Run& record;
  std::string folder;  // of the run
  std::string checkpoint;
  std::string data;  // folder of token files
  std::string build;
  int threads;
};

// All rows of a measure; the quantity of at least one of them is the measure's name.
//   by-position  NAME: loss in nats at the positions around x, the context then being x tokens; means over 64 pieces
//   needle       NAME: share of exact answers at context length x, depth y; NAME.first-digit: of the first digit alone;
//                NAME.top-score the mean score of each example's best head; NAME.heads: score of the x-th best head at
//                length y, mean over depths
//   scales       NAME: the learned s of layer x, head y at the end; NAME.bias: b
//   attention    NAME: the jacobian of train's attention records at update x; NAME.saturated: share of saturated rows;
//                both of head h of layer l at y = l + h/100. NAME.entropy, NAME.row_sum_mean, NAME.dweight_norm,
//                NAME.dscore_norm: other fields, means over the heads of layer y;
//                NAME.scores: the density of the scores of all layers and heads at the score x at update y: the first
//                record, the middle one, the last
//   length-scale NAME: the learned scale of context size x (learned_scale), at the end
// Failure where the program that measures fails.
std::vector<Measurement> measured(const MeasureSpec& measure, const MeasuredRun& run);
