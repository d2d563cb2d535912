// The calls of kernels that the benchmark makes, in one place with bench_kernels.cpp: where the contract of a kernel
// changes, only these two files do, and the list of timed kernels in bench_profile.cpp.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "kernels/matmul.h"

// --- the three products of a linear layer -----------------------------------------------------------------------------

struct Layer {
  size_t BT, C, OC;
  WeightLayout layout;
  float *inp = nullptr, *weight = nullptr, *out = nullptr;     // (BT,C), (C,OC) or (OC,C), (BT,OC)
  float *dinp = nullptr, *dweight = nullptr, *dout = nullptr;  // likewise
};

// product: "forward", "dinp" or "dW"; precision: "fp32" or "bf16".
void layer_product(const Layer& layer, const std::string& product, const std::string& precision);

// --- attention --------------------------------------------------------------------------------------------------------

struct AttentionShape {
  size_t B, NH, T, HS;
  size_t C() const { return NH * HS; }
};

struct AttentionMemory {
  float *qkv, *dqkv;                    // (B,T,3C)
  float *out, *dout;                    // (B,T,C)
  float* rows;                          // most_row_floats()
  float *theta, *dtheta;                // (2,NH)
  float *length_scale, *dlength_scale;  // (T)
};

struct AttentionKernels {
  std::string normalizer;
  void (*forward)(const AttentionShape&, const AttentionMemory&);
  void (*backward)(const AttentionShape&, const AttentionMemory&);  // after a forward of the same normalizer
};

std::vector<AttentionKernels> every_attention();
size_t most_row_floats(const AttentionShape& shape);  // enough for the rows of any normalizer

// --- what is bound by memory ------------------------------------------------------------------------------------------

struct StreamingPart {
  std::string name;
  std::string counted;  // which bytes of an element
  double bytes;         // of a run
  std::function<void()> run;
};

// x: four arrays of n floats each, used by all of them.
std::vector<StreamingPart> streaming_parts(float* const x[4], size_t n);
