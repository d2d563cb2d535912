// How fast a training step should be on a GPU, from what its kernels move and compute and from the data sheet. Nothing
// in here is measured. kernels/cuda/SPEED.md is the page that comes of it; tests/bench_cuda.cpp prints both.
//
// A kernel takes as long as what takes longest: its memory traffic, or one of its kinds of instructions. Each is
// assumed to reach a fixed fraction of its peak, named below, which no measurement backs yet.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "model/config.h"

enum class Arithmetic { kFp32, kTf32, kBf16 };  // kTf32: train --tf32, cuBLAS's products alone
const char* arithmetic_name(Arithmetic arithmetic);

struct Gpu {
  std::string name;   // "a100", of --predict
  std::string title;  // "A100 SXM 80 GB"
  double memory_gbytes_per_s;
  double fp32_tflops, tf32_tflops, bf16_tflops;  // dense, sums in fp32
  double mma_share;                              // of bf16_tflops, at most, by the instruction mma.sync
  double clock_ghz;                              // at which the peaks are reached
  int multiprocessors;
  double l2_mbytes;
  int shared_kbytes, threads, blocks;  // of a multiprocessor, at most

  double peak_tflops(Arithmetic arithmetic) const;
};
const std::vector<Gpu>& known_gpus();
const Gpu& gpu_named(const std::string& name, const std::string& option);  // Error for any other name

// What is assumed: fractions of a peak, and times.
inline constexpr double kStreamed = 0.85;         // of memory bandwidth
inline constexpr double kTensorProduct = 0.70;    // of tensor cores, by cuBLAS
inline constexpr double kFp32Product = 0.85;      // of fp32 multiply-adds, by cuBLAS
inline constexpr double kUnalignedTensor = 0.50;  // of those, where rows do not start on multiples of 16 bytes
inline constexpr double kUnalignedFp32 = 0.85;
inline constexpr double kIssued = 0.70;        // of the instructions that a multiprocessor can start
inline constexpr double kIssuedByWarp = 0.40;  // of those of its scheduler, by one warp that runs alone
inline constexpr double kLeastMs = 0.003;      // what the smallest kernel takes
inline constexpr double kGapMs = 0.001;        // between a kernel and the next

// --- what a step does ------------------------------------------------------------------------------------------------

// A kernel, or a product of cuBLAS. Bytes go to and from device memory; what is read again from a cache is not counted.
struct Launch {
  std::string kernel;                          // as in tests/cuda_budget.txt; a product of cuBLAS has none
  double bytes = 0, least_bytes = 0;           // moved; if every operand were read once, every result written once
  double flop = 0;                             // of the algorithm
  bool aligned = true;                         // of a product: rows start on multiples of 16 bytes
  double instructions = 0, fp32 = 0, mma = 0;  // of warps: all, those of fp32, m16n8k16 on tensor cores
  unsigned threads = 0;                        // of a block
  size_t shared_bytes = 0;                     // of a block, dynamic
  double again_bytes = 0, block_bytes = 0;     // read a second time if what running blocks hold exceeds the L2 cache

  bool is_product() const { return kernel.empty(); }
};

// A function of kernels/*.h, as the model calls it.
struct Call {
  std::string name;  // "qkv forward"
  std::string part;  // "products", what a table sums up
  double count;      // in a step
  std::vector<Launch> launches;
};

// A step of training on `config` with softmax and learned positions: forward, backward, gradient norm, AdamW.
std::vector<Call> calls_of_step(const Config& config, size_t B, Arithmetic arithmetic);

// Flop of a step as MFU counts them: 6 for each weight of a product and token, and the causal half of attention. The
// same as in the metrics of `train`.
double model_flop(const Config& config, size_t B);

// --- what it takes ---------------------------------------------------------------------------------------------------

// Registers of a thread and static shared memory of a block, from tests/cuda_budget.txt: the line for softmax of
// kernels that depend on the normalizer. Error if the file cannot be read.
struct Resources {
  int registers, shared_bytes;
};
using Budget = std::map<std::string, Resources>;
Budget read_budget(const std::string& path);

// Blocks of the kernel that run on a multiprocessor at once. Error if the kernel is not in the budget.
int blocks_at_once(const Launch& launch, const Gpu& gpu, const Budget& budget);
double occupancy(const Launch& launch, const Gpu& gpu, const Budget& budget);  // share of the threads it has room for

struct Prediction {
  double ms = 0;
  double roof_ms = 0;  // with the least bytes and no more than the flop of the algorithm, at the peaks
  std::string bound;   // what takes longest: "memory", "tensor cores", "fp32", "instructions", "launch"

  double roof_fraction() const { return roof_ms / ms; }
};
Prediction predict(const Launch& launch, Arithmetic arithmetic, const Gpu& gpu, const Budget& budget);
Prediction predict(const Call& call, Arithmetic arithmetic, const Gpu& gpu, const Budget& budget);  // once

struct StepPrediction {
  double ms = 0, tokens_per_s = 0, mfu = 0;
  double launches = 0;
};
StepPrediction predict_step(const Config& config, size_t B, Arithmetic arithmetic, const Gpu& gpu,
                            const Budget& budget);
