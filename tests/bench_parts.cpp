#include "model/buffer.h"
#include "tests/bench.h"
#include "tests/bench_kernels.h"
#include "tests/bench_roof.h"

void bench_parts(const BenchOptions& options, Report& report) {
  report.section("What is bound by memory, on arrays of 128 MiB, against triad (a = b + s c, 12 bytes an element)");
  const size_t n = options.extent == Extent::kSmoke ? size_t(1) << 20 : kStreamFloats;
  std::vector<Buffer> arrays;
  float* pointers[4];
  for (float*& pointer : pointers) {
    arrays.emplace_back(n);
    pointer = arrays.back().data();
    for (size_t i = 0; i < n; i++) pointer[i] = float(i % 97) / 97;
  }
  Triad triad(pointers[0], pointers[1], pointers[2], n);
  const auto parts = streaming_parts(pointers, n);

  std::vector<Candidate> candidates;
  for (const StreamingPart& part : parts) {  // each beside a triad of its own: memory is what neighbours disturb most
    candidates.push_back(triad.candidate());
    candidates.push_back({part.run});
  }
  Patience patience = options.patience;
  patience.seconds *= 2;
  const auto timings = interleave(candidates, patience);

  Table table({20, 36, 16, 14, 10}, 2);
  table.row({"part", "bytes counted an element", "ms", "GB/s", "of triad"});
  auto add = [&](const std::string& name, const std::string& counted, double bytes, const Timing& timing,
                 const Timing& beside) {
    const double gbytes = bytes / timing.best / 1e6, roof = triad.gbytes(beside.best);
    auto record = report.record("part", timing);
    record["part"] = name;
    record["precision"] = "fp32";
    record["bytes"] = bytes;
    record["gbytes_per_s"] = gbytes;
    record["triad_gbytes_per_s"] = roof;
    record["triad_fraction"] = gbytes / roof;
    report.write(record);
    table.row({name, counted, best_and_median(timing.best, timing.median, 1),
               best_and_median(gbytes, bytes / timing.median / 1e6, 1), fixed(gbytes / roof, 2)});
  };
  add("triad", "12: 2 read, 1 written", triad.bytes(), timings[0], timings[0]);
  for (size_t i = 0; i < parts.size(); i++)
    add(parts[i].name, parts[i].counted, parts[i].bytes, timings[2 * i + 1], timings[2 * i]);
}
