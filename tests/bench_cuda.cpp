// bench-cuda: how fast a training step is on this machine's GPU, beside what bench_cuda_model.h predicts; with
// --predict the prediction alone, for which no GPU is needed. `make bench-cuda` runs it; kernels/cuda/SPEED.md is its page.
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "data/error.h"
#include "kernels/cuda/runtime.h"
#include "tests/bench_cuda_kernels.h"
#include "tests/bench_cuda_model.h"
#include "tests/bench_report.h"
#include "train/command_line.h"

namespace {

constexpr Arithmetic kEvery[] = {Arithmetic::kFp32, Arithmetic::kTf32, Arithmetic::kBf16};

struct Options {
  Config config;
  size_t B = 16;
  int rounds = 20;
  std::vector<std::string> precisions;
  std::string budget = "tests/cuda_budget.txt", out = "build/bench-cuda.jsonl";
  bool tf32 = false;
};

// GPT-2 as `train --preset gpt2` has it; the small one, to test this program, keeps its head size.
Config gpt2(bool tiny) {
  Config config;
  config.L = config.NH = 12;
  config.C = 768;
  config.T = 1024;
  config.V = 50257;
  config.position = Position::kLearned;
  if (tiny) config.L = 1, config.NH = 1, config.C = 64, config.T = 32, config.V = 97;
  return config;
}

// A table for people, or as Markdown: the first column to the left, the others to the right.
class Sheet {
 public:
  Sheet(bool markdown, std::vector<std::string> titles) : markdown_(markdown), rows_{std::move(titles)} {}
  void row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

  void print() const {
    std::vector<int> widths(rows_[0].size());
    for (const auto& cells : rows_)
      for (size_t i = 0; i < cells.size(); i++) widths[i] = std::max(widths[i], int(cells[i].size()));
    for (size_t r = 0; r < rows_.size(); r++) {
      for (size_t i = 0; i < widths.size(); i++)
        std::printf(i == 0 ? "%s%-*s" : "%s%*s", markdown_ ? (i == 0 ? "| " : " | ") : "  ", widths[i],
                    rows_[r][i].c_str());
      std::printf(markdown_ ? " |\n" : "\n");
      if (markdown_ && r == 0)
        for (size_t i = 0; i < widths.size(); i++)
          std::printf("%s%s", i == 0 ? "| --- " : "| ---: ", i + 1 == widths.size() ? "|\n" : "");
    }
    std::printf("\n");
  }

 private:
  bool markdown_;
  std::vector<std::vector<std::string>> rows_;
};

std::string percent(double share) { return fixed(100 * share, 0) + " %"; }

// --- the prediction --------------------------------------------------------------------------------------------------

void print_gpus(bool markdown, const std::vector<Gpu>& gpus) {
  Sheet sheet(markdown, {"GPU", "memory GB/s", "fp32 TFLOP/s", "tf32", "bf16", "multiprocessors", "GHz", "L2 MB"});
  for (const Gpu& gpu : gpus)
    sheet.row({gpu.title, fixed(gpu.memory_gbytes_per_s, 0), fixed(gpu.fp32_tflops, 1), fixed(gpu.tf32_tflops, 1),
               fixed(gpu.bf16_tflops, 1), std::to_string(gpu.multiprocessors), fixed(gpu.clock_ghz, 2),
               fixed(gpu.l2_mbytes, 0)});
  sheet.print();
}

void print_steps(bool markdown, const Options& options, const std::vector<Gpu>& gpus, const Budget& budget) {
  Sheet sheet(markdown, {"GPU", "precision", "ms a step", "tokens/s", "MFU", "launches"});
  for (const Gpu& gpu : gpus)
    for (const Arithmetic arithmetic : kEvery) {
      const StepPrediction step = predict_step(options.config, options.B, arithmetic, gpu, budget);
      sheet.row({gpu.title, arithmetic_name(arithmetic), fixed(step.ms, 1), fixed(step.tokens_per_s, 0),
                 percent(step.mfu), fixed(step.launches, 0)});
    }
  sheet.print();
}

// For every call of a step in the precision, all of its calls together.
void print_calls(bool markdown, const Options& options, Arithmetic arithmetic, const std::vector<Gpu>& gpus,
                 const Budget& budget) {
  std::vector<std::string> titles = {"kernel", "calls", "MB moved", "MB least", "GFLOP"};
  for (const Gpu& gpu : gpus) {
    titles.push_back(gpu.title + ", ms");
    titles.push_back("bound by");
    titles.push_back("of the roof");
  }
  Sheet sheet(markdown, titles);
  std::vector<double> ms(gpus.size()), roof_ms(gpus.size());
  double bytes = 0, least = 0, flop = 0;
  for (const Call& call : calls_of_step(options.config, options.B, arithmetic)) {
    double call_bytes = 0, call_least = 0, call_flop = 0;
    for (const Launch& launch : call.launches) {
      call_bytes += launch.bytes;
      call_least += launch.least_bytes;
      call_flop += launch.flop;
    }
    std::vector<std::string> cells = {call.name, fixed(call.count, 0), fixed(call_bytes / 1e6, 0),
                                      fixed(call_least / 1e6, 0), fixed(call_flop / 1e9, 1)};
    for (size_t i = 0; i < gpus.size(); i++) {
      const Prediction prediction = predict(call, arithmetic, gpus[i], budget);
      ms[i] += call.count * prediction.ms;
      roof_ms[i] += call.count * prediction.roof_ms;
      cells.insert(cells.end(),
                   {fixed(call.count * prediction.ms, 2), prediction.bound, percent(prediction.roof_fraction())});
    }
    sheet.row(cells);
    bytes += call.count * call_bytes, least += call.count * call_least, flop += call.count * call_flop;
  }
  std::vector<std::string> cells = {"the step", "", fixed(bytes / 1e6, 0), fixed(least / 1e6, 0), fixed(flop / 1e9, 1)};
  for (size_t i = 0; i < gpus.size(); i++)
    cells.insert(cells.end(), {fixed(ms[i], 2), "", percent(roof_ms[i] / ms[i])});
  sheet.row(cells);
  sheet.print();
}

void print_occupancy(bool markdown, const Options& options, const std::vector<Gpu>& gpus, const Budget& budget) {
  std::vector<std::string> titles = {"kernel", "threads", "registers", "shared bytes"};
  for (const Gpu& gpu : gpus) titles.push_back(gpu.title);
  Sheet sheet(markdown, titles);
  std::vector<std::string> shown;
  for (const Arithmetic arithmetic : {Arithmetic::kFp32, Arithmetic::kBf16})
    for (const Call& call : calls_of_step(options.config, options.B, arithmetic))
      for (const Launch& launch : call.launches) {
        if (launch.is_product() || std::find(shown.begin(), shown.end(), launch.kernel) != shown.end()) continue;
        shown.push_back(launch.kernel);
        std::vector<std::string> cells = {"`" + launch.kernel + "`", std::to_string(launch.threads)};
        for (const Gpu& gpu : gpus) {
          const std::string share = percent(occupancy(launch, gpu, budget));  // first: it refuses unknown kernels
          if (cells.size() == 2) {
            const Resources& resources = budget.at(launch.kernel);
            cells.push_back(std::to_string(resources.registers));
            cells.push_back(std::to_string(resources.shared_bytes + int(launch.shared_bytes)));
          }
          cells.push_back(share + " (" + std::to_string(blocks_at_once(launch, gpu, budget)) + ")");
        }
        sheet.row(cells);
      }
  sheet.print();
}

void print_prediction(const Options& options, bool markdown, const std::vector<Gpu>& gpus) {
  const Budget budget = read_budget(options.budget);
  const char* section = markdown ? "### " : "";
  std::printf("%sThe GPUs, from their data sheets\n\n", section);
  print_gpus(markdown, gpus);
  std::printf("%sA step of GPT-2: %zu x %d tokens, %.2f TFLOP\n\n", section, options.B, options.config.T,
              model_flop(options.config, options.B) / 1e12);
  print_steps(markdown, options, gpus, budget);
  for (const Arithmetic arithmetic : {Arithmetic::kFp32, Arithmetic::kBf16}) {
    std::printf("%sIts kernels, %s: MB and GFLOP of a call, milliseconds of all calls\n\n", section,
                arithmetic_name(arithmetic));
    print_calls(markdown, options, arithmetic, gpus, budget);
  }
  std::printf("%sOccupancy: share of a multiprocessor's threads, and blocks\n\n", section);
  print_occupancy(markdown, options, gpus, budget);
}

// --- what is measured ------------------------------------------------------------------------------------------------

Timing timing_of(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  return {times.front(), times[times.size() / 2], times.size()};
}

// Every call of a step and the step, in one precision. gpu: what to predict for, or null.
void measure(const Options& options, Arithmetic arithmetic, const Gpu* gpu, const Budget& budget, Report& report) {
  const CudaCalls cuda = cuda_calls(options.config, options.B, arithmetic == Arithmetic::kBf16);
  report.section("Kernels in " + std::string(arithmetic_name(arithmetic)) + ", ms of one call, caches cold");
  Table table({22, 7, 20, 12, 10, 13, 13}, 1);
  table.row({"kernel", "calls", "ms", "predicted", "as much", "of the roof", "of the step"});
  auto record = [&](const std::string& bench, const Timing& timing, const std::string& normalizer) {
    auto line = report.record(bench, timing);
    line["model"] = "gpt2";
    line["B"] = options.B;
    line["T"] = options.config.T;
    line["normalizer"] = normalizer;
    line["precision"] = arithmetic_name(arithmetic);
    return line;
  };

  const Timing step = timing_of(device_times(cuda.step, options.rounds));
  double sum = 0;
  for (const Call& call : calls_of_step(options.config, options.B, arithmetic)) {
    const auto found = cuda.of_step.find(call.name);
    if (found == cuda.of_step.end()) throw Failure("bench-cuda cannot run '" + call.name + "'");
    const Timing timing = timing_of(device_times(found->second, options.rounds));
    sum += call.count * timing.median;
    auto line = record("cuda kernel", timing, "softmax");
    line["kernel"] = call.name;
    line["calls"] = call.count;
    std::vector<std::string> cells = {call.name, fixed(call.count, 0), best_and_median(timing.best, timing.median, 3)};
    if (gpu) {
      const Prediction prediction = predict(call, arithmetic, *gpu, budget);
      line["ms_predicted"] = prediction.ms;
      line["roof_fraction"] = prediction.roof_ms / timing.median;
      cells.insert(cells.end(), {fixed(prediction.ms, 3), fixed(timing.median / prediction.ms, 2),
                                 percent(prediction.roof_ms / timing.median)});
    } else {
      cells.insert(cells.end(), {"-", "-", "-"});
    }
    cells.push_back(percent(call.count * timing.median / step.median));
    report.write(line);
    table.row(cells);
  }

  auto line = record("cuda step", step, "softmax");
  line["tokens_per_s"] = double(options.B) * options.config.T / step.median * 1000;
  line["ms_between_kernels"] = step.median - sum;
  std::vector<std::string> cells = {"a step", "1", best_and_median(step.best, step.median, 2), "-", "-", "-", "100 %"};
  if (gpu) {
    const StepPrediction prediction = predict_step(options.config, options.B, arithmetic, *gpu, budget);
    line["ms_predicted"] = prediction.ms;
    line["mfu"] = prediction.mfu * prediction.ms / step.median;
    cells[3] = fixed(prediction.ms, 2);
    cells[4] = fixed(step.median / prediction.ms, 2);
  }
  report.write(line);
  table.row(cells);
  std::printf("  %s tokens/s%s; kernels alone %s ms; loss %s nats\n",
              fixed(line["tokens_per_s"].get<double>(), 0).c_str(),
              gpu ? (", MFU " + percent(line["mfu"].get<double>())).c_str() : "", fixed(sum, 2).c_str(),
              fixed(cuda.loss(), 3).c_str());

  std::printf("\n  attention of other normalizers, over softmax's\n");
  for (const auto& [normalizer, calls] : cuda.of_normalizer)
    for (const char* name : {"attention forward", "attention backward"}) {
      const Timing softmax = timing_of(device_times(cuda.of_step.at(name), options.rounds));
      if (std::string(name) == "attention backward") calls.at("attention forward")();
      const Timing timing = timing_of(device_times(calls.at(name), options.rounds));
      cuda.of_step.at("attention forward")();
      auto other = record("cuda attention", timing, normalizer);
      other["kernel"] = name;
      other["over_softmax"] = timing.median / softmax.median;
      report.write(other);
      table.row({normalizer + &name[std::string("attention").size()], "",
                 best_and_median(timing.best, timing.median, 3), "", fixed(timing.median / softmax.median, 2)});
    }
}

// The known GPU that a device is, by its name ("NVIDIA H100 80GB HBM3"), or the one it is to be compared with.
const Gpu* gpu_like(const std::string& device, const std::string& like) {
  if (!like.empty()) return &gpu_named(like, "like");
  for (const Gpu& gpu : known_gpus()) {
    std::string name = gpu.name;
    for (char& c : name) c = char(std::toupper(c));
    if (device.find(name) != std::string::npos) return &gpu;
  }
  return nullptr;
}

int run(int argc, char** argv) {
  Options options;
  options.precisions = {"fp32", "bf16"};
  std::vector<std::string> predicted;
  std::string like;
  bool markdown = false, smoke = false;
  std::vector<std::string> names;
  for (const Gpu& gpu : known_gpus()) names.push_back(gpu.name);

  CommandLine line("bench-cuda", "Measures the kernels and a training step of GPT-2 on this machine's GPU.");
  line.add("predict", predicted, "measure nothing: print what is predicted for these GPUs (a100, h100, 4090), or all");
  line.add("markdown", markdown, "with --predict: as kernels/cuda/SPEED.md has it");
  line.add("like", like, "GPU to predict for, where this one's data sheet is not known here")
      .default_text("by the name of this one");
  line.add("precisions", options.precisions, "fp32, bf16 or both");
  line.add("tf32", options.tf32, "products of fp32 in TF32");
  line.add("batch-size", options.B, "rows of 1024 tokens", positive<size_t>());
  line.add("rounds", options.rounds, "how often everything is timed", positive<int>());
  line.add("budget", options.budget, "file with the registers of all kernels", not_empty());
  line.add("out", options.out, "file for the results, one JSON object a line", not_empty());
  line.add("smoke", smoke, "tiny shapes, once: tests that bench-cuda works, and measures nothing");
  line.parse(argc, argv);

  for (const std::string& precision : options.precisions)
    if (precision != "fp32" && precision != "bf16") throw bad_value("--precisions", precision, "fp32 or bf16");

  options.config = gpt2(smoke);
  if (!predicted.empty()) {
    if (predicted == std::vector<std::string>{"all"}) predicted = names;
    std::vector<Gpu> gpus;
    for (const std::string& name : predicted) gpus.push_back(gpu_named(name, "predict"));
    std::printf("%s\n\n", markdown ? "<!-- Printed by bench-cuda --predict all --markdown. -->"
                                   : "NOT MEASURED: predicted from data sheets.");
    print_prediction(options, markdown, gpus);
    return 0;
  }

  if (smoke) options.B = 2, options.rounds = 1;
  const cuda::Device& device = cuda::open_device(options.tf32);
  const Gpu* gpu = gpu_like(device.name, like);
  const Budget budget = read_budget(options.budget);
  Report report(options.out, 1);
  std::printf("device       %s (sm_%d%d), %d multiprocessors; predicted for %s\n", device.name.c_str(), device.major,
              device.minor, device.multiprocessors, gpu ? gpu->title.c_str() : "no known GPU: give --like");
  std::printf(
      "times        on the device, best of %d, median in brackets; prediction and roof are held against the median\n",
      options.rounds);
  for (const std::string& precision : options.precisions)
    measure(options,
            precision == "bf16" ? Arithmetic::kBf16
            : options.tf32      ? Arithmetic::kTf32
                                : Arithmetic::kFp32,
            gpu, budget, report);
  report.finish();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("bench-cuda", [&] { return run(argc, argv); });
}
