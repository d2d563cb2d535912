#include "tests/bench_check.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "data/error.h"
#include "tests/bench_report.h"

using nlohmann::ordered_json;

namespace {

constexpr double kDefaultTolerance = 0.15;  // relative: neighbours of a shared machine move ratios by that much

struct Ratio {
  std::string name;
  double value;
  bool higher_is_better;
};

struct Results {
  ordered_json machine;
  std::vector<ordered_json> lines;
};

Results read_results(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw Error("'" + path + "' cannot be read; 'build/bench --quick --out FILE' writes it");
  Results results;
  int number = 0;
  for (std::string text; std::getline(file, text);) {
    const std::string place = path + " line " + std::to_string(++number);
    ordered_json line = ordered_json::parse(text, nullptr, false);
    if (!line.is_object()) throw Error(place + " is no JSON object");
    for (const char* field : kRecordFields)
      if (!line.contains(field)) throw Error(place + " lacks the field '" + field + "'");
    if (line["bench"] == "machine")
      for (const char* field : {"cpu", "simd", "threads"}) results.machine[field] = line.at(field);
    results.lines.push_back(line);
  }
  if (results.machine.is_null()) throw Error("'" + path + "' lacks the line that names the machine");
  return results;
}

std::string text(const ordered_json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

std::vector<Ratio> ratios_of(const Results& results) {
  std::vector<Ratio> ratios;
  std::map<std::string, double> fp32_ms;  // of what is measured in both precisions
  auto add_bf16 = [&](const ordered_json& line, const std::string& what) {
    const double ms = line["ms_best"];
    if (line["precision"] == "fp32")
      fp32_ms[what] = ms;
    else if (fp32_ms.count(what))
      ratios.push_back({what + ", bf16 over fp32", fp32_ms[what] / ms, true});
  };
  for (const ordered_json& line : results.lines) {
    const std::string bench = line["bench"];
    if (bench == "gemm total" && line["library"] == "attnorm") {
      const std::string what = "matrix products, " + text(line["shapes"]);
      ratios.push_back({what + ", " + text(line["precision"]) + ", of the roof", line["roof_fraction"], true});
      add_bf16(line, what);
    } else if (bench == "step" && line["normalizer"] == "softmax") {
      const std::string what =
          "update of " + text(line["model"]) + " (" + text(line["B"]) + "," + text(line["T"]) + ")";
      ratios.push_back({what + ", " + text(line["precision"]) + ", of the roof", line["roof_fraction"], true});
      add_bf16(line, what);
    } else if (bench == "attention" && line["direction"] == "both") {
      const std::string what = "attention (" + text(line["B"]) + "," + text(line["NH"]) + "," + text(line["T"]) + "," +
                               text(line["HS"]) + "), ";
      if (line["normalizer"] == "softmax")
        ratios.push_back({what + "softmax, of the roof", line["roof_fraction"], true});
      else
        ratios.push_back({what + text(line["normalizer"]) + " over softmax", line["over_softmax"], false});
    } else if (bench == "part" && (line["part"] == "AdamW" || line["part"] == "cross-entropy")) {
      ratios.push_back({text(line["part"]) + ", of triad", line["triad_fraction"], true});
    }
  }
  return ratios;
}

// The best or the worst of each ratio, and the machine, which is the same in all.
struct Summary {
  ordered_json machine;
  std::vector<Ratio> ratios;
};

Summary summarize(const std::vector<std::string>& paths, bool best) {
  Summary summary;
  for (const std::string& path : paths) {
    const Results results = read_results(path);
    if (path == paths[0]) summary.machine = results.machine;
    if (summary.machine != results.machine) throw Error("'" + path + "' is of another machine than '" + paths[0] + "'");
    for (const Ratio& ratio : ratios_of(results)) {
      auto same = std::find_if(summary.ratios.begin(), summary.ratios.end(),
                               [&](const Ratio& other) { return other.name == ratio.name; });
      if (same == summary.ratios.end())
        summary.ratios.push_back(ratio);
      else
        same->value =
            best == ratio.higher_is_better ? std::max(same->value, ratio.value) : std::min(same->value, ratio.value);
    }
  }
  return summary;
}

ordered_json read_baseline(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw Error("the baseline '" + path + "' cannot be read; --write-baseline makes it");
  ordered_json baseline = ordered_json::parse(file, nullptr, false);
  if (!baseline.is_object()) throw Error("the baseline '" + path + "' is no JSON object");
  for (const char* field : {"machine", "tolerance", "ratios"})
    if (!baseline.contains(field)) throw Error("the baseline '" + path + "' lacks the field '" + field + "'");
  return baseline;
}

}  // namespace

int check_against_baseline(const std::vector<std::string>& paths, const std::string& baseline_path) {
  const Summary results = summarize(paths, true);
  const ordered_json baseline = read_baseline(baseline_path);
  const double tolerance = baseline["tolerance"];
  const bool same_machine = results.machine == baseline["machine"];
  std::map<std::string, double> now;
  for (const Ratio& ratio : results.ratios) now[ratio.name] = ratio.value;

  std::vector<std::string> regressions;
  Table table({62, 10, 8, 9}, 1);
  table.row({"ratio", "baseline", "now", "change"});
  for (const auto& [name, entry] : baseline["ratios"].items()) {
    const double before = entry["value"];
    const bool higher_is_better = entry["better"] == "higher";
    if (!now.count(name)) {
      table.row({name, fixed(before, 2), "-", ""});
      regressions.push_back(name + ": it was not measured, and the baseline has " + fixed(before, 2));
      continue;
    }
    const double change = now[name] / before - 1;
    table.row({name, fixed(before, 2), fixed(now[name], 2), fixed(100 * change, 0) + " %"});
    if ((higher_is_better ? -change : change) > tolerance)
      regressions.push_back(name + ": it was " + fixed(before, 2) + " and is " + fixed(now[name], 2) +
                            ", worse by more than " + fixed(100 * tolerance, 0) + " %");
  }
  if (!same_machine) {
    std::printf("Not judged: the baseline is of another machine, %s.\n", baseline["machine"].dump().c_str());
    return 0;
  }
  for (const std::string& regression : regressions) std::printf("REGRESSION %s.\n", regression.c_str());
  if (regressions.empty())
    std::printf("No ratio is worse than the baseline's by more than %.0f %%.\n", 100 * tolerance);
  return regressions.empty() ? 0 : 1;
}

void write_baseline(const std::vector<std::string>& paths, const std::string& baseline_path) {
  const Summary results = summarize(paths, false);
  double tolerance = kDefaultTolerance;
  if (std::ifstream(baseline_path)) tolerance = read_baseline(baseline_path)["tolerance"];
  ordered_json baseline = {
      {"comment",
       "Ratios that make bench-check compares with; a change for the worse above `tolerance` (relative) on this "
       "machine is a regression. make bench-check WRITE_BASELINE=1 remakes the file."},
      {"machine", results.machine},
      {"tolerance", tolerance},
      {"ratios", ordered_json::object()}};
  for (const Ratio& ratio : results.ratios)
    baseline["ratios"][ratio.name] = {{"better", ratio.higher_is_better ? "higher" : "lower"},
                                      {"value", std::stod(fixed(ratio.value, 3))}};
  std::ofstream file(baseline_path);
  file << baseline.dump(2) << "\n";
  file.close();
  if (!file) throw Failure("the baseline '" + baseline_path + "' could not be written");
  std::printf("Wrote %zu ratios to %s.\n", baseline["ratios"].size(), baseline_path.c_str());
}
