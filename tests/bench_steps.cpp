#include <algorithm>
#include <cstdio>
#include <numeric>

#include "tests/bench.h"
#include "tests/bench_model.h"
#include "tests/bench_roof.h"
#include "train/command_line.h"
#include "train/memory.h"

namespace {

const std::vector<std::string> kDefaultNormalizers = {"softmax", "ssmax", "sa_softmax", "sin2max_shifted"};

std::vector<std::string> normalizers_for(const BenchOptions& options, const ModelShape& shape) {
  if (!options.normalizers.empty()) return options.normalizers;
  if (shape.name == "gpt2-4x1024" || options.extent != Extent::kFull) return {"softmax"};  // the former takes seconds
  return kDefaultNormalizers;
}

struct ModelProfile {
  std::string name, model, precision;
  size_t B, T;
  Profile profile;
};

// The fastest of so many, or of one where an update takes seconds.
Profile best_profile(BenchModel& model, const std::string& precision, const Timing& step) {
  const size_t rounds = step.best > 2000 ? 1 : std::min<size_t>(5, step.samples);
  Profile best{};
  double least = 1e300;
  for (size_t i = 0; i < rounds; i++) {
    double start = now_ms();
    Profile profile = model.profile(precision);
    if (double ms = now_ms() - start; ms < least) least = ms, best = profile;
  }
  return best;
}

void bench_model(const ModelShape& shape, const BenchOptions& options, Report& report, const Table& table,
                 std::vector<ModelProfile>& profiles) {
  const auto variants = variants_of(normalizers_for(options, shape), options.precisions);
  forget_peak_memory();
  BenchModel model(config_of(shape.preset), shape.B, shape.T, variants);
  FlopRoof roofs[] = {FlopRoof(false), FlopRoof(true)};

  std::vector<Candidate> candidates;
  std::vector<double> losses(variants.size());
  for (size_t i = 0; i < variants.size(); i++) {
    candidates.push_back(roofs[0].candidate());
    candidates.push_back(roofs[1].candidate());
    candidates.push_back({[&, i] {
      model.step(variants[i]);
      losses[i] = model.loss();
    }});
  }
  const auto timings = interleave(candidates, options.patience);
  double roof_ms[2] = {1e300, 1e300};
  for (size_t i = 0; i < timings.size(); i++)
    if (i % 3 < 2) roof_ms[i % 3] = std::min(roof_ms[i % 3], timings[i].best);
  const double linear = linear_flop(model.config, shape.B, shape.T);
  const double attention = attention_flop(model.config, shape.B, shape.T);

  for (size_t i = 0; i < variants.size(); i++) {
    const Timing& timing = timings[3 * i + 2];
    const bool is_bf16 = variants[i].precision == "bf16";
    auto record = report.record("step", timing);
    set_step(record, shape.preset, variants[i], model);
    set_roof(record, linear, attention, roofs[is_bf16].gflops(roof_ms[is_bf16]));
    record["peak_bytes"] = peak_memory_bytes();
    record["planned_bytes"] = model.planned_bytes(options.threads);
    record["loss"] = losses[i];
    report.write(record);
    table.row({i == 0 ? shape.name : "", variants[i].normalizer, variants[i].precision,
               best_and_median(timing.best, timing.median, timing.best < 1000 ? 1 : 0),
               fixed(record["tokens_per_s"], 0), fixed(record["gflops"], 0), fixed(record["roof_fraction"], 2),
               fixed(record["roof_fraction_with_attention"], 2), i == 0 ? format_bytes(record["peak_bytes"]) : ""});
  }
  for (const std::string& precision : options.precisions)
    profiles.push_back(
        {shape.name, shape.preset, precision, shape.B, shape.T, best_profile(model, precision, timings[2])});
}

// One row for each part, one column for each model, with the precisions side by side.
void show_profiles(const std::vector<ModelProfile>& profiles, const BenchOptions& options, Report& report) {
  report.section("Parts of an update with softmax, % of its time, in " + list_of(options.precisions, " and "));
  std::vector<int> widths = {20};
  std::vector<std::string> head = {"part"}, others = {"all but the first 3"}, ms = {"ms"};
  std::vector<std::vector<std::string>> rows;
  for (size_t part = 0; part < kParts; part++) rows.push_back({part_name(Part(part))});
  for (const ModelProfile& of : profiles) {
    const double total = std::accumulate(of.profile.begin(), of.profile.end(), 0.0);
    double other = total;
    for (Part part : {Part::kLayers, Part::kHead, Part::kAttention}) other -= of.profile[size_t(part)];
    auto record = report.record("share");
    record["model"] = of.model;
    record["B"] = of.B;
    record["T"] = of.T;
    record["normalizer"] = "softmax";
    record["precision"] = of.precision;
    record["ms_best"] = total;
    record["not_product_or_attention"] = other / total;
    for (size_t part = 0; part < kParts; part++) record["shares"][part_name(Part(part))] = of.profile[part] / total;
    report.write(record);

    const bool new_column = of.precision == options.precisions[0];
    auto add = [&](std::vector<std::string>& row, double value, int digits) {
      std::string text = fixed(value, digits);
      if (new_column)
        row.push_back(text);
      else
        row.back() += std::string(std::max(1, 8 - int(text.size())), ' ') + text;
    };
    if (new_column) {
      widths.push_back(18);
      head.push_back(of.name);
    }
    for (size_t part = 0; part < kParts; part++) add(rows[part], 100 * of.profile[part] / total, 1);
    add(others, 100 * other / total, 1);
    add(ms, total, total < 1000 ? 1 : 0);
  }
  Table table(widths, 1);
  table.row(head);
  for (const auto& row : rows) table.row(row);
  table.row(others);
  table.row(ms);
}

}  // namespace

void bench_steps(const BenchOptions& options, Report& report) {
  report.section("Whole updates (forward, backward, gradient norm, AdamW) on random tokens");
  std::printf("  GFLOP/s and `of roof` count the matrices alone, `+ attn.` also causal attention\n");
  Table table({14, 17, 6, 18, 11, 9, 9, 9, 11}, 3);
  table.row({"model-BxT", "normalizer", "", "ms", "tokens/s", "GFLOP/s", "of roof", "+ attn.", "memory"});
  std::vector<ModelProfile> profiles;
  for (const ModelShape& shape : model_shapes(options.extent)) {
    if (!options.models.empty() &&
        std::find(options.models.begin(), options.models.end(), shape.name) == options.models.end())
      continue;
    try {
      bench_model(shape, options, report, table, profiles);
    } catch (const std::bad_alloc&) {
      std::printf("  %s: left out, for the machine has not enough free memory\n", shape.name.c_str());
    }
  }
  if (!profiles.empty()) show_profiles(profiles, options, report);
}
