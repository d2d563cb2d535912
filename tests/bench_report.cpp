#include "tests/bench_report.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <thread>

#include "data/error.h"
#include "tests/bench_roof.h"
#include "train/build_info.h"

namespace {

constexpr double kDisturbed = 1.3;

// "AMD EPYC (family 26, model 2)": clouds leave the generation out of the name.
std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  std::map<std::string, std::string> fields;
  for (std::string line; std::getline(file, line) && !line.empty();) {  // up to the end of the first CPU
    size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    std::string name = line.substr(0, colon);
    name.erase(name.find_last_not_of(" \t") + 1);
    fields[name] = line.substr(std::min(line.size(), colon + 2));
  }
  if (fields.count("model name"))
    return fields["model name"] + " (family " + fields["cpu family"] + ", model " + fields["model"] + ")";
  if (fields.count("CPU part"))
    return "ARM (implementer " + fields["CPU implementer"] + ", part " + fields["CPU part"] + ")";
  return "unknown CPU";
}

}  // namespace

nlohmann::ordered_json machine_json() {
  return {{"cpu", cpu_name()},
          {"cpus", std::max(1u, std::thread::hardware_concurrency())},
          {"simd", simd_text() + (kHasBf16 ? " with bf16" : "")},
          {"compiler", compiler_text()},
          {"git", git_text()}};
}

Report::Report(const std::string& path, int threads) : path_(path), file_(path), threads_(threads) {
  if (!file_) throw Error("--out is '" + path + "'; it must be a file that can be written");
  nlohmann::ordered_json machine = machine_json(), line = record("machine");
  line.update(machine);
  write(line);
  auto text = [&](const char* field) { return machine[field].get<std::string>(); };
  std::printf("machine      %s, %d of %d CPUs used, %s\n", text("cpu").c_str(), threads, machine["cpus"].get<int>(),
              text("simd").c_str());
  std::printf("build        attnorm %s (git %s), %s\n", kVersion, text("git").c_str(), text("compiler").c_str());
  std::printf("times        best of n, median in brackets; candidates take turns in one process\n");
}

nlohmann::ordered_json Report::record(const std::string& bench) const {
  nlohmann::ordered_json result;
  for (const char* field : kRecordFields) result[field] = nullptr;
  result["bench"] = bench;
  result["threads"] = threads_;
  return result;
}

nlohmann::ordered_json Report::record(const std::string& bench, const Timing& timing) {
  auto result = record(bench);
  result["ms_best"] = timing.best;
  result["ms_median"] = timing.median;
  result["samples"] = timing.samples;
  timings_++;
  disturbed_ += timing.disturbance() > kDisturbed;
  worst_ = std::max(worst_, timing.disturbance());
  return result;
}

void Report::write(const nlohmann::ordered_json& record) {
  file_ << record.dump() << std::endl;
  if (!file_) throw Failure("'" + path_ + "' could not be written; is the disk full?");
}

void Report::section(const std::string& title) {
  tell_disturbance();
  std::printf("\n%s\n", title.c_str());
  std::fflush(stdout);
}

void Report::finish() {
  tell_disturbance();
  std::printf("\nEvery figure is also a line of %s.\n", path_.c_str());
}

void Report::tell_disturbance() {
  if (disturbed_ > 0)
    std::printf(
        "WARNING: the machine was disturbed: %zu of %zu medians are over %.1f times the best, the worst %.1f times\n",
        disturbed_, timings_, kDisturbed, worst_);
  timings_ = disturbed_ = 0;
  worst_ = 1;
}

void set_gflops(nlohmann::ordered_json& record, double flop, double roof_gflops) {
  double gflops = flop / record["ms_best"].get<double>() / 1e6;
  record["gflops"] = gflops;
  record["roof_gflops"] = roof_gflops;
  record["roof_fraction"] = gflops / roof_gflops;
}

std::string fixed(double x, int digits) {
  char text[40];
  std::snprintf(text, sizeof text, "%.*f", digits, x);
  return text;
}

std::string best_and_median(double best, double median, int digits) {
  return fixed(best, digits) + " (" + fixed(median, digits) + ")";
}

void Table::row(const std::vector<std::string>& cells) const {
  std::string line;
  for (size_t i = 0; i < cells.size(); i++) {
    std::string space(std::max(0, widths_[i] - int(cells[i].size())), ' ');
    line += i < left_ ? cells[i] + space : space + cells[i];
  }
  line.erase(line.find_last_not_of(' ') + 1);
  std::printf("  %s\n", line.c_str());
  std::fflush(stdout);
}
