// bench: how fast this machine and attnorm on it are. `make bench` runs all of it; README.md shows what it prints.
#include <algorithm>
#include <functional>

#include "kernels/normalizer/normalizer.h"
#include "tests/bench.h"
#include "tests/bench_check.h"
#include "tests/bench_model.h"
#include "train/command_line.h"
#include "train/threads.h"

namespace {

struct Group {
  const char* name;
  void (*run)(const BenchOptions&, Report&);
};
constexpr Group kGroups[] = {{"gemm", bench_gemm},
                             {"attention", bench_attention},
                             {"parts", bench_parts},
                             {"steps", bench_steps},
                             {"scaling", bench_scaling}};

// Error unless every word of an option is one of the names.
void check_words(const std::string& option, const std::vector<std::string>& words,
                 const std::vector<std::string>& names) {
  for (const std::string& word : words)
    if (Allowed<std::string> allowed = one_of(names); !allowed.test(word)) {
      std::string closest = nearest(word, names);
      throw bad_value("--" + option, word, allowed.words + (closest.empty() ? "" : "; the nearest is " + closest));
    }
}

std::vector<std::string> group_names() {
  std::vector<std::string> names;
  for (const Group& group : kGroups) names.push_back(group.name);
  return names;
}

std::vector<std::string> model_names(Extent extent) {
  std::vector<std::string> names;
  for (const ModelShape& shape : model_shapes(extent)) names.push_back(shape.name);
  return names;
}

int run(int argc, char** argv) {
#define BENCH_NAME(name, ...) #name,
  const std::vector<std::string> every_normalizer = {EVERY_NORMALIZER(BENCH_NAME)};
#undef BENCH_NAME
  BenchOptions options;
  options.precisions = {"fp32", "bf16"};
  std::vector<std::string> only = group_names();
  std::vector<std::string> check;
  std::string out = "build/bench.jsonl", baseline = "tests/bench_baseline.json";
  int threads = 0, rounds = 0;
  double seconds = options.patience.seconds;
  bool quick = false, smoke = false, write = false;

  CommandLine line("bench", "Measures attnorm on this machine: matrix products, attention, whole updates, scaling.");
  line.add("only", only, "groups to measure");
  line.add("normalizers", options.normalizers, "normalizers to measure, or all")
      .default_text("a choice of 4; attention: all");
  line.add("precisions", options.precisions, "fp32, bf16 or both");
  line.add("models", options.models, "models to measure in steps")
      .default_text(list_of(model_names(Extent::kFull), ", "));
  line.add("rounds", rounds, "how often everything is timed, 0 to choose by --seconds", non_negative<int>());
  line.add("seconds", seconds, "how long what takes turns is timed, at least 3 rounds", positive<double>());
  line.add("quick", quick, "a part of it, in less than a minute");
  line.add("smoke", smoke, "tiny shapes, once: tests that bench works, and measures nothing");
  line.add("threads", threads, "CPU threads, 0 to choose", between(0, kMostThreads));
  line.add("out", out, "file for the results, one JSON object a line", not_empty());
  line.add("check", check, "compare the results in these files with the baseline, and measure nothing");
  line.add("baseline", baseline, "file of the baseline", not_empty());
  line.add("write-baseline", write, "with --check: make the results the baseline");
  line.parse(argc, argv);
  if (!check.empty() && write) return write_baseline(check, baseline), 0;
  if (!check.empty()) return check_against_baseline(check, baseline);
  if (write) throw Error("--write-baseline is given without --check; it needs results to write");

  options.extent = smoke ? Extent::kSmoke : quick ? Extent::kQuick : Extent::kFull;
  if (options.normalizers == std::vector<std::string>{"all"}) options.normalizers = every_normalizer;
  if (quick && !line.given("only")) std::erase(only, "scaling");
  check_words("only", only, group_names());
  check_words("normalizers", options.normalizers, every_normalizer);
  check_words("precisions", options.precisions, {"fp32", "bf16"});
  check_words("models", options.models, model_names(options.extent));
  options.patience.seconds = quick && !line.given("seconds") ? 2 : seconds;
  if (smoke && rounds == 0) rounds = 1;
  if (rounds > 0) options.patience = {rounds, 1e9, rounds, 0};
  options.threads = set_threads(threads).threads;

  Report report(out, options.threads);
  for (const Group& group : kGroups)
    if (std::find(only.begin(), only.end(), group.name) != only.end()) group.run(options, report);
  report.finish();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  return run_program("bench", [&] { return run(argc, argv); });
}
