#include <algorithm>
#include <cstdio>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

#include "kernels/random.h"
#include "model/buffer.h"
#include "tests/bench.h"
#include "tests/bench_kernels.h"
#include "tests/bench_openblas.h"
#include "tests/bench_roof.h"
#include "tests/bench_threads.h"

namespace {

struct Shape {
  size_t BT, C, OC;
  bool layer_at_256;  // one of the layers of GPT-2 with 256 tokens, over which issue and README state a mean
};

constexpr Shape kFullShapes[] = {
    {256, 768, 2304, true},   {256, 768, 3072, true},  {256, 3072, 768, true},   {256, 768, 50257, false},
    {4096, 768, 3072, false}, {4096, 128, 512, false}, {1024, 384, 1536, false}, {768, 128, 384, false},
};
constexpr Shape kQuickShapes[] = {{256, 768, 2304, true}, {256, 3072, 768, true}, {4096, 128, 512, false}};
constexpr Shape kSmokeShapes[] = {{32, 48, 96, true}};
constexpr size_t kHead = 50257;  // the head, whose weights lie the other way round

constexpr double kSpinMs = 40;  // OpenBLAS's threads spin for about 25 ms after a product, on cores that we need next

void fill(float* x, size_t n, uint32_t seed) {
  for (size_t i = 0; i < n; i++) x[i] = float(Philox{{seed, 0}}(i)[0]) * 0x1p-32f - 0.5f;
}

// Everything in one block, as in the model: a large one gets huge pages, without which small shapes lose up to a third.
struct Operands {
  Buffer memory;
  Layer layer;

  explicit Operands(const Shape& s) {
    const size_t sizes[] = {s.BT * s.C, s.C * s.OC, s.BT * s.OC};
    constexpr size_t kHuge = size_t(8) << 20;
    size_t floats = 0;
    for (size_t size : sizes) floats += 2 * aligned(size);
    memory = Buffer(std::max(floats, kHuge));
    float* end = memory.data();
    auto next = [&](size_t size) { return std::exchange(end, end + aligned(size)); };
    layer = {s.BT, s.C, s.OC, s.OC == kHead ? WeightLayout::kOutIn : WeightLayout::kInOut};
    for (float** operand : {&layer.inp, &layer.dinp}) *operand = next(sizes[0]);
    for (float** operand : {&layer.weight, &layer.dweight}) *operand = next(sizes[1]);
    for (float** operand : {&layer.out, &layer.dout}) *operand = next(sizes[2]);
    fill(layer.inp, sizes[0], 1), fill(layer.weight, sizes[1], 2), fill(layer.dout, sizes[2], 3);
  }
};

void openblas_product(const OpenBlas& blas, const Layer& l, const std::string& product) {
  bool out_in = l.layout == WeightLayout::kOutIn;
  if (product == "forward")
    blas.sgemm(l.out, l.inp, false, l.weight, out_in, l.BT, l.OC, l.C, 0);
  else if (product == "dinp")
    blas.sgemm(l.dinp, l.dout, false, l.weight, !out_in, l.BT, l.C, l.OC, 0);
  else if (out_in)
    blas.sgemm(l.dweight, l.dout, true, l.inp, false, l.OC, l.C, l.BT, 1);
  else
    blas.sgemm(l.dweight, l.inp, true, l.dout, false, l.C, l.OC, l.BT, 1);
}

// One product, or several taken together.
struct Times {
  double flop = 0, best_ms = 0, median_ms = 0;
  double roof_ms = 0;  // what the flop would take at the roof of their own rounds

  void add(const Times& other) {
    flop += other.flop, best_ms += other.best_ms, median_ms += other.median_ms, roof_ms += other.roof_ms;
  }
  double of_roof() const { return roof_ms / best_ms; }
};

using Columns = std::map<std::string, Times>;  // by "fp32", "bf16" and "openblas"

constexpr const char* kProducts[] = {"forward", "dinp", "dW"};

// The columns of each product of a layer, measured in turn and reported.
std::map<std::string, Columns> measure(const Shape& shape, const std::vector<std::string>& columns,
                                       const std::optional<OpenBlas>& blas, const BenchOptions& options,
                                       Report& report) {
  const Operands operands(shape);
  const Layer& layer = operands.layer;
  const FlopRoof roofs[] = {FlopRoof(false), FlopRoof(true)};
  std::vector<Candidate> candidates = {roofs[0].candidate(), roofs[1].candidate()};
  for (const std::string& column : columns)
    for (const char* product : kProducts) {
      if (column == "openblas")
        candidates.push_back({[&, product] { openblas_product(*blas, layer, product); }});
      else
        candidates.push_back({[&, product, column] { layer_product(layer, product, column); }});
    }
  if (blas) candidates.back().pause_ms = kSpinMs;
  const auto timings = interleave(candidates, options.patience);

  std::map<std::string, Columns> result;
  size_t next = std::size(roofs);
  const double flop = 2.0 * double(shape.BT) * double(shape.C) * double(shape.OC);
  for (const std::string& column : columns)
    for (const char* product : kProducts) {
      const Timing& timing = timings[next++];
      const bool is_bf16 = column == "bf16";
      const double roof = roofs[is_bf16].gflops(timings[is_bf16].best);
      auto record = report.record("gemm", timing);
      record["precision"] = is_bf16 ? "bf16" : "fp32";
      record["library"] = column == "openblas" ? "openblas" : "attnorm";
      record["product"] = product;
      record["BT"] = shape.BT;
      record["C"] = shape.C;
      record["OC"] = shape.OC;
      set_gflops(record, flop, roof);
      report.write(record);
      result[product][column] = {flop, timing.best, timing.median, flop / roof / 1e6};
    }
  return result;
}

void show(const Table& table, const std::string& shape, const std::string& product, const Columns& columns) {
  auto cell = [&](const char* column, auto text) { return columns.count(column) ? text(columns.at(column)) : "-"; };
  auto gflops = [&](const char* column) {
    return cell(column, [](const Times& t) {
      return best_and_median(t.flop / t.best_ms / 1e6, t.flop / t.median_ms / 1e6, 0);
    });
  };
  auto of_roof = [&](const char* column) { return cell(column, [](const Times& t) { return fixed(t.of_roof(), 2); }); };
  auto speedup = [&](const char* column, const char* over) {
    return cell(column, [&](const Times& t) {
      return cell(over, [&](const Times& other) { return fixed(other.best_ms / t.best_ms, 2); });
    });
  };
  table.row({shape, product, gflops("fp32"), of_roof("fp32"), gflops("openblas"), of_roof("openblas"),
             speedup("fp32", "openblas"), gflops("bf16"), of_roof("bf16"), speedup("bf16", "fp32")});
}

void report_total(const char* shapes, const Columns& columns, Report& report) {
  for (const auto& [column, times] : columns) {
    auto record = report.record("gemm total");
    record["precision"] = column == "bf16" ? "bf16" : "fp32";
    record["library"] = column == "openblas" ? "openblas" : "attnorm";
    record["shapes"] = shapes;
    record["ms_best"] = times.best_ms;
    record["ms_median"] = times.median_ms;
    set_gflops(record, times.flop, times.flop / times.roof_ms / 1e6);
    report.write(record);
  }
}

}  // namespace

void bench_gemm(const BenchOptions& options, Report& report) {
  std::vector<Shape> shapes;
  if (options.extent == Extent::kFull) shapes.assign(std::begin(kFullShapes), std::end(kFullShapes));
  if (options.extent == Extent::kQuick) shapes.assign(std::begin(kQuickShapes), std::end(kQuickShapes));
  if (options.extent == Extent::kSmoke) shapes.assign(std::begin(kSmokeShapes), std::end(kSmokeShapes));
  BoundThreads bound;
  const auto blas = bound.around([&] { return OpenBlas::load(options.threads); });

  report.section(
      "Matrix products of a linear layer, GFLOP/s; `of roof`: best over the best FMA loop of the same rounds");
  if (blas)
    std::printf("  beside %s\n", blas->description().c_str());
  else
    std::printf("  OpenBLAS is not installed (Debian: libopenblas0-pthread), so there is nothing to compare with\n");
  Table table({17, 8, 11, 9, 12, 9, 10, 12, 9, 11}, 2);
  table.row(
      {"BT,C,OC", "product", "fp32", "of roof", "OpenBLAS", "of roof", "ours/its", "bf16", "of roof", "bf16/fp32"});

  std::vector<std::string> columns = options.precisions;
  if (blas) columns.push_back("openblas");
  Columns layers, all;
  for (const Shape& shape : shapes) {
    std::string name = std::to_string(shape.BT) + "," + std::to_string(shape.C) + "," + std::to_string(shape.OC);
    auto measured = measure(shape, columns, blas, options, report);
    for (const char* product : kProducts) {
      show(table, std::exchange(name, ""), product, measured[product]);
      for (const auto& [column, times] : measured[product]) {
        all[column].add(times);
        if (shape.layer_at_256) layers[column].add(times);
      }
    }
  }
  show(table, "layers, BT = 256", "", layers);
  show(table, "all of these", "", all);
  report_total("layers at BT = 256", layers, report);
  report_total("all", all, report);
}
