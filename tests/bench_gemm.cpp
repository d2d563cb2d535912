#include <algorithm>
#include <cstdio>
#include <map>
#include <utility>

#include "data/error.h"
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

// Products taken together: the time they took, and the time they would take at the roof of their own rounds.
struct Sum {
  double ms = 0, roof_ms = 0;
};

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
  Table table({16, 9, 12, 9, 14, 9, 14, 9, 11}, 2);
  table.row({"BT,C,OC", "product", "fp32", "of roof", "OpenBLAS", "ours/its", "bf16", "of roof", "bf16/fp32"});

  std::vector<std::string> columns = options.precisions;
  if (blas) columns.push_back("openblas");
  std::map<std::string, Sum> layers, all;  // by column
  FlopRoof roofs[] = {FlopRoof(false), FlopRoof(true)};

  for (const Shape& shape : shapes) {
    Operands operands(shape);
    const Layer& layer = operands.layer;
    struct Entry {
      std::string product, column;
    };
    std::vector<Entry> entries;
    std::vector<Candidate> candidates = {roofs[0].candidate(), roofs[1].candidate()};
    for (const std::string& column : columns)
      for (const char* product : {"forward", "dinp", "dW"}) {
        entries.push_back({product, column});
        if (column != "openblas")
          candidates.push_back({[&, product, column] { layer_product(layer, product, column); }});
        else
          candidates.push_back({[&, product] { openblas_product(*blas, layer, product); }});
      }
    if (blas) candidates.back().pause_ms = kSpinMs;
    auto timings = interleave(candidates, options.patience);

    const double flop = 2.0 * double(shape.BT) * double(shape.C) * double(shape.OC);
    std::map<std::string, std::map<std::string, nlohmann::ordered_json>> cells;
    for (size_t i = 0; i < entries.size(); i++) {
      const Timing& timing = timings[i + 2];
      const bool is_bf16 = entries[i].column == "bf16", is_openblas = entries[i].column == "openblas";
      const double roof = roofs[is_bf16].gflops(timings[is_bf16].best);
      auto record = report.record("gemm", timing);
      record["precision"] = is_bf16 ? "bf16" : "fp32";
      record["library"] = is_openblas ? "openblas" : "attnorm";
      record["product"] = entries[i].product;
      record["BT"] = shape.BT;
      record["C"] = shape.C;
      record["OC"] = shape.OC;
      set_gflops(record, flop, roof);
      report.write(record);
      cells[entries[i].product][entries[i].column] = record;
      for (auto* sum : {&layers, &all})
        if (sum == &all || shape.layer_at_256) {
          (*sum)[entries[i].column].ms += timing.best;
          (*sum)[entries[i].column].roof_ms += flop / roof / 1e6;
        }
    }
    for (const char* product : {"forward", "dinp", "dW"}) {
      auto& row = cells[product];
      auto gflops = [&](const char* column) {
        return row.count(column)
                   ? best_and_median(row[column]["gflops"], flop / row[column]["ms_median"].get<double>() / 1e6, 0)
                   : "-";
      };
      auto of_roof = [&](const char* column) {
        return row.count(column) ? fixed(row[column]["roof_fraction"], 2) : "-";
      };
      auto ratio = [&](const char* a, const char* b) {
        return row.count(a) && row.count(b) ? fixed(row[a]["gflops"].get<double>() / row[b]["gflops"].get<double>(), 2)
                                            : "-";
      };
      std::string name = std::to_string(shape.BT) + "," + std::to_string(shape.C) + "," + std::to_string(shape.OC);
      table.row({product == std::string("forward") ? name : "", product, gflops("fp32"), of_roof("fp32"),
                 gflops("openblas"), ratio("fp32", "openblas"), gflops("bf16"), of_roof("bf16"),
                 ratio("bf16", "fp32")});
    }
  }

  auto total = [&](const char* name, std::map<std::string, Sum>& sums) {
    auto of_roof = [&](const char* column) {
      return sums.count(column) ? fixed(sums[column].roof_ms / sums[column].ms, 2) : "-";
    };
    auto ratio = [&](const char* a, const char* b) {
      return sums.count(a) && sums.count(b) ? fixed(sums[b].ms / sums[a].ms, 2) : "-";
    };
    table.row({name, "", "", of_roof("fp32"), sums.count("openblas") ? of_roof("openblas") + " of roof" : "-",
               ratio("fp32", "openblas"), "", of_roof("bf16"), ratio("bf16", "fp32")});
    for (const auto& [column, sum] : sums) {
      auto record = report.record("gemm total");
      record["precision"] = column == "bf16" ? "bf16" : "fp32";
      record["library"] = column == "openblas" ? "openblas" : "attnorm";
      record["shapes"] = &sums == &layers ? "layers at BT = 256" : "all";
      record["ms_best"] = sum.ms;
      record["roof_fraction"] = sum.roof_ms / sum.ms;
      report.write(record);
    }
  };
  total("layers, BT = 256", layers);
  total("all of these", all);
}
