// Input: the number of a step, as decimal text, a line break, the metrics.jsonl of a run that goes on after that step.
#include <charconv>
#include <filesystem>

#include "tests/fuzz/fuzz.h"
#include "tests/temp_dir.h"
#include "train/metrics.h"

void fuzz_metrics_cut(std::string_view input) {
  const std::string_view number = take_until(input, "\n");
  uint64_t step = 0;
  std::from_chars(number.data(), number.data() + number.size(), step);
  const std::string path = metrics_path(sandbox());
  write_file(path, std::string(input));

  if (!accepts([&] { Metrics::truncate(sandbox(), step); })) return;
  const std::string kept = read_file(path);
  require(input.starts_with(kept), "only the end is cut");
  require(kept.empty() || kept.ends_with('\n'), "no line is torn");
  Metrics::truncate(sandbox(), step);
  require(read_file(path) == kept, "what is cut stays cut");
  if (step < UINT64_MAX) require(!Metrics::ended(sandbox(), step + 1), "a later end is cut");
  Metrics::evaluated(sandbox(), step, 100);
  Metrics::program(sandbox(), "normalizer");
  Metrics::truncate(sandbox(), {});
  require(std::filesystem::file_size(path) == 0, "a run that starts again has no records");
}
