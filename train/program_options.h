// The command lines of evaluate, sample, compare and prepare; that of train is in train/options.h. Each function throws
// Error with one sentence, or HelpRequest. None looks at a file that an option names.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "train/sampling.h"

struct EvaluateOptions {
  std::string checkpoint, data, split = "val";
  bool split_given = false;
  int seq_len = 0;      // 0: as in training
  uint64_t tokens = 0;  // predicted, from the start of the split; 0: all
  int batch_size = 8, threads = 0;
  double rope_theta_scale = 1;
  bool by_position = false;
  std::string csv;  // where the losses by position go; "": to standard output
};
EvaluateOptions parse_evaluate_options(int argc, const char* const* argv, const std::string& normalizer);

struct SampleOptions {
  std::string checkpoint, prompt = "\n";
  int tokens = 200, threads = 0;
  SamplingOptions sampling;
};
SampleOptions parse_sample_options(int argc, const char* const* argv, const std::string& normalizer);

struct CompareOptions {
  std::vector<std::string> runs;
  std::string baseline = "softmax";
  bool baseline_given = false;
  std::string out = "curves.svg";
  std::string csv;
  bool terminal = false;
};
CompareOptions parse_compare_options(int argc, const char* const* argv);

struct PrepareOptions {
  std::string corpus;               // a name of data/corpora.h, or empty
  std::vector<std::string> inputs;  // else these files
  std::string out;
};
PrepareOptions parse_prepare_options(int argc, const char* const* argv);
