#include <algorithm>
#include <cstdio>

#include "kernels/random.h"
#include "model/buffer.h"
#include "tests/bench.h"
#include "tests/bench_kernels.h"
#include "tests/bench_roof.h"

namespace {

std::vector<AttentionShape> shapes(Extent extent) {
  const AttentionShape gpt2 = {4, 12, 1024, 64}, small = {16, 4, 256, 32};
  if (extent == Extent::kSmoke) return {{2, 2, 32, 8}};
  if (extent == Extent::kQuick) return {small};
  return {gpt2, small};
}

// What bench-check compares: softmax, and one of each family whose cost the README states.
const std::vector<std::string> kQuickNormalizers = {"softmax",     "ssmax",        "sa_softmax",      "sin2max_shifted",
                                                    "sin_softmax", "norm_softmax", "norm_sin_softmax"};

struct Memory {
  Buffer block;
  AttentionMemory pointers;

  explicit Memory(const AttentionShape& s) {
    const size_t channels = s.B * s.T * s.C(), theta = 2 * s.NH;
    const size_t sizes[] = {3 * channels, 3 * channels, channels, channels, most_row_floats(s), theta, theta, s.T, s.T};
    size_t floats = 0;
    for (size_t size : sizes) floats += aligned(size);
    block = Buffer(floats);
    float* end = block.data();
    float** const arrays[] = {&pointers.qkv,    &pointers.dqkv,         &pointers.out,
                              &pointers.dout,   &pointers.rows,         &pointers.theta,
                              &pointers.dtheta, &pointers.length_scale, &pointers.dlength_scale};
    for (size_t i = 0; i < std::size(sizes); i++) *arrays[i] = end, end += aligned(sizes[i]);
    for (size_t i = 0; i < 3 * channels; i++) pointers.qkv[i] = float(standard_normal(Philox{{1, 0}}, i));
    for (size_t i = 0; i < channels; i++) pointers.dout[i] = float(standard_normal(Philox{{2, 0}}, i));
    for (size_t i = 0; i < theta; i++) pointers.theta[i] = i < s.NH ? 0.2f : 0;
    std::fill_n(pointers.length_scale, s.T, 1.0f);
  }
};

void bench_shape(const AttentionShape& shape, std::vector<AttentionKernels> kernels, const BenchOptions& options,
                 Report& report) {
  Memory memory(shape);
  FlopRoof roof(false);
  std::vector<Candidate> candidates;
  for (const AttentionKernels& kernel : kernels) {
    candidates.push_back({[&] { kernel.forward(shape, memory.pointers); }});
    candidates.push_back({[&] { kernel.backward(shape, memory.pointers); }});
  }
  candidates.push_back(roof.candidate());
  const auto timings = interleave(candidates, options.patience);
  const double roof_gflops = roof.gflops(timings.back().best);
  const double product = 2.0 * double(shape.B * shape.C() * shape.T) * double(shape.T + 1) / 2;  // flop, causal

  std::printf("  (B,NH,T,HS) = (%zu,%zu,%zu,%zu)\n", shape.B, shape.NH, shape.T, shape.HS);
  Table table({22, 16, 9, 18, 9, 9, 9, 9}, 1);
  table.row({"normalizer", "forward, ms", "/softmax", "backward, ms", "/softmax", "both", "GFLOP/s", "of roof"});
  for (size_t i = 0; i < kernels.size(); i++) {
    const Timing parts[] = {timings[2 * i], timings[2 * i + 1]};
    double over_softmax[3] = {};
    nlohmann::ordered_json record;
    for (int part = 0; part < 3; part++) {  // forward, backward, both
      const Timing& f = parts[0];
      const Timing& b = parts[1];
      const Timing timing = part < 2 ? parts[part] : Timing{f.best + b.best, f.median + b.median, f.samples};
      const double softmax = part < 2 ? timings[part].best : timings[0].best + timings[1].best;
      over_softmax[part] = timing.best / softmax;
      record = report.record("attention", timing);
      record["normalizer"] = kernels[i].normalizer;
      record["precision"] = "fp32";
      record["B"] = shape.B;
      record["T"] = shape.T;
      record["NH"] = shape.NH;
      record["HS"] = shape.HS;
      record["direction"] = part == 0 ? "forward" : part == 1 ? "backward" : "both";
      record["over_softmax"] = over_softmax[part];
      set_gflops(record, product * (part == 0 ? 2 : part == 1 ? 4 : 6), roof_gflops);
      report.write(record);
    }
    table.row({kernels[i].normalizer, best_and_median(parts[0].best, parts[0].median, 2), fixed(over_softmax[0], 2),
               best_and_median(parts[1].best, parts[1].median, 2), fixed(over_softmax[1], 2), fixed(over_softmax[2], 2),
               fixed(record["gflops"], 0), fixed(record["roof_fraction"], 2)});
  }
}

}  // namespace

void bench_attention(const BenchOptions& options, Report& report) {
  report.section("Causal attention, fp32; 2 products forward, 4 backward counted; `/softmax`: best over best");
  std::vector<AttentionKernels> kernels;
  const auto& asked = !options.normalizers.empty()       ? options.normalizers
                      : options.extent == Extent::kQuick ? kQuickNormalizers
                                                         : std::vector<std::string>{};
  for (const AttentionKernels& kernel : every_attention())
    if (kernel.normalizer == "softmax" || asked.empty() ||
        std::find(asked.begin(), asked.end(), kernel.normalizer) != asked.end())
      kernels.push_back(kernel);
  for (const AttentionShape& shape : shapes(options.extent)) bench_shape(shape, kernels, options, report);
}
