#include <algorithm>
#include <cstdio>

#include "tests/bench.h"
#include "tests/bench_kernels.h"
#include "tests/bench_model.h"
#include "tests/bench_roof.h"
#include "train/memory.h"
#ifdef _OPENMP
#include <omp.h>
#endif

namespace {

void use_threads([[maybe_unused]] int threads) {
#ifdef _OPENMP
  omp_set_num_threads(threads);
#pragma omp parallel
  {}  // starts those that are missing
#endif
}

// 1, 2, 4, ... and all of them.
std::vector<int> thread_counts(int most) {
  std::vector<int> counts;
  for (int threads = 1; threads < most; threads *= 2) counts.push_back(threads);
  counts.push_back(most);
  return counts;
}

void scale_threads(const ModelShape& shape, const BenchOptions& options, Report& report, const Table& table) {
  const auto variants = variants_of({"softmax"}, options.precisions);
  BenchModel model(config_of(shape.preset), shape.B, shape.T, variants);
  const auto counts = thread_counts(options.threads);
  std::vector<Candidate> candidates;
  for (const Variant& variant : variants)
    for (int threads : counts)
      candidates.push_back({[&] { model.step(variant); }, 0, [threads] { use_threads(threads); }});
  const auto timings = interleave(candidates, options.patience);
  use_threads(options.threads);

  for (size_t i = 0; i < timings.size(); i++) {
    const Variant& variant = variants[i / counts.size()];
    const double speedup = timings[i / counts.size() * counts.size()].best / timings[i].best;
    auto record = report.record("scaling threads", timings[i]);
    set_step(record, shape.preset, variant, model);
    record["threads"] = counts[i % counts.size()];
    record["speedup"] = speedup;
    report.write(record);
    table.row({i == 0 ? shape.name : "", variant.precision, std::to_string(counts[i % counts.size()]),
               best_and_median(timings[i].best, timings[i].median, 1), fixed(record["tokens_per_s"], 0),
               fixed(speedup, 2)});
  }
}

void scale_length(size_t T, size_t tokens, const BenchOptions& options, Report& report, const Table& table) {
  const auto variants = variants_of({"softmax"}, options.precisions);
  Config config = config_of(options.extent == Extent::kSmoke ? "tiny" : "small");
  config.position = Position::kRope;
  config.T = int(T);
  forget_peak_memory();
  BenchModel model(config, tokens / T, T, variants);
  FlopRoof roofs[] = {FlopRoof(false), FlopRoof(true)};
  std::vector<Candidate> candidates = {roofs[0].candidate(), roofs[1].candidate()};
  for (const Variant& variant : variants) candidates.push_back({[&] { model.step(variant); }});
  const auto timings = interleave(candidates, options.patience);

  const double attention = attention_flop(config, model.B, T), linear = linear_flop(config, model.B, T);
  for (size_t i = 0; i < variants.size(); i++) {
    const bool is_bf16 = variants[i].precision == "bf16";
    const Timing& timing = timings[i + 2];
    auto record = report.record("scaling T", timing);
    set_step(record, "small", variants[i], model);
    set_roof(record, linear, attention, roofs[is_bf16].gflops(timings[is_bf16].best));
    record["attention_ms"] = model.profile(variants[i].precision)[size_t(Part::kAttention)];
    record["peak_bytes"] = peak_memory_bytes();
    report.write(record);
    table.row({i == 0 ? std::to_string(model.B) + "," + std::to_string(T) : "", variants[i].precision,
               best_and_median(timing.best, timing.median, 1), fixed(record["attention_ms"], 1),
               fixed(record["tokens_per_s"], 0), fixed(record["roof_fraction_with_attention"], 2),
               i == 0 ? format_bytes(record["peak_bytes"]) : ""});
  }
}

}  // namespace

void bench_scaling(const BenchOptions& options, Report& report) {
  report.section("From one thread to all: an update with softmax");
  Table threads({14, 6, 9, 20, 12, 10}, 2);
  threads.row({"model-BxT", "", "threads", "ms", "tokens/s", "speedup"});
  for (const ModelShape& shape : model_shapes(options.extent))
    if (shape.name != "gpt2-4x1024") scale_threads(shape, options, report, threads);

  const bool smoke = options.extent == Extent::kSmoke;
  const size_t tokens = smoke ? 64 : 8192;
  report.section("From short to long sequences: an update of `small` on " + std::to_string(tokens) + " tokens");
  Table lengths({14, 6, 20, 16, 12, 12, 12}, 2);
  lengths.row({"B,T", "", "ms", "of it attention", "tokens/s", "of roof*", "memory"});
  for (size_t T = smoke ? 16 : 256; T <= (smoke ? 32 : tokens); T *= 2)
    scale_length(T, tokens, options, report, lengths);
  std::printf("  * matrices and causal attention\n");
}
