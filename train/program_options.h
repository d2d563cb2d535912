// The command lines of evaluate, sample, compare and prepare; that of train is in train/options.h. Each function throws
// Error with one sentence, or HelpRequest. None looks at a file that an option names.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/prepare_needle.h"
#include "train/sampling.h"

struct EvaluateOptions {
  std::string checkpoint, data, split = "val";
  bool split_given = false;
  int seq_len = 0;      // 0: as in training
  uint64_t tokens = 0;  // predicted, from the start of the split; 0: all
  int batch_size = 8, threads = 0;
  double rope_theta_scale = 1;
  bool by_position = false;
  std::string csv;  // the table by position, or of --needle; "": to standard output alone

  bool needle = false;
  std::vector<int> lengths = {256, 512, 1024, 2048, 4096};
  std::vector<double> depths = {0, 0.25, 0.5, 0.75, 1};
  int trials = 100;
  uint64_t seed = 1;
  std::string heads_csv;
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
  bool needle = false;  // examples of key retrieval with filler from the text, instead of the text
  NeedleData needles;
};
PrepareOptions parse_prepare_options(int argc, const char* const* argv);
