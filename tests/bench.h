// The benchmark: what each group of it measures. tests/bench.cpp has the options and the order.
#pragma once

#include <string>
#include <vector>

#include "tests/bench_clock.h"
#include "tests/bench_report.h"

enum class Extent {
  kFull,
  kQuick,  // what bench-check compares, in less than a minute
  kSmoke,  // every kind of line at tiny shapes, to test the benchmark: its figures mean nothing
};

struct BenchOptions {
  Extent extent = Extent::kFull;
  Patience patience;
  int threads = 1;
  std::vector<std::string> normalizers;  // empty: those that each group takes by default
  std::vector<std::string> precisions;   // "fp32", "bf16"
  std::vector<std::string> models;       // of the groups of steps, empty for all: names of model_shapes()
};

// Matrix products at the shapes of GPT-2 and of small models, beside OpenBLAS.
void bench_gemm(const BenchOptions& options, Report& report);

// Attention of every normalizer, over softmax's.
void bench_attention(const BenchOptions& options, Report& report);

// What is bound by memory, against triad.
void bench_parts(const BenchOptions& options, Report& report);

// Whole updates of whole models, and which part takes how much of them.
void bench_steps(const BenchOptions& options, Report& report);

// From one thread to all of them, and from short to long sequences.
void bench_scaling(const BenchOptions& options, Report& report);
