// What build/reproduce makes of records, for every experiment that is committed, with made-up records in place of runs: so
// that a table or a figure does not fail after hours of training.
#include <cmath>
#include <filesystem>
#include <functional>

#include "tests/catch.h"
#include "tests/error_text.h"
#include "tests/temp_dir.h"
#include "train/experiments/report.h"
#include "train/gnuplot.h"

namespace fs = std::filesystem;

namespace {

// The final loss that is made up for a run, in nats; infinite for one that diverged.
using MadeUpLoss = std::function<double(const RunPlan&)>;

constexpr double kNotLearned = 2;  // a run with a higher loss finds few needles at any length

double wave(const RunPlan& run, double x) { return 0.002 * std::sin(double(run.seed) * 7.1 + x); }

std::vector<Measurement> made_up(const MeasureSpec& measure, const RunPlan& run, double loss) {
  std::vector<Measurement> result;
  auto add = [&](const std::string& end, double x, double y, double value) {
    result.push_back({run.name, measure.name + end, x, y, value});
  };
  if (measure.kind == "by-position") {
    for (double x = 32; x <= 4096; x += 64) add("", x, 0, loss + std::max(0.0, std::log2(x / 256)) * loss);
  } else if (measure.kind == "needle") {
    for (double length : {256, 512, 1024, 2048, 4096}) {
      const double share =
          loss > kNotLearned ? 0.1 : std::exp((256 - length) / 1000 * loss) + wave(run, length) - 0.002;
      for (double depth : {0.0, 0.25, 0.5, 0.75, 1.0})
        for (const char* end : {"", ".first-digit", ".top-score"}) add(end, length, depth, share);
      for (int rank = 1; rank <= 4; rank++) add(".heads", rank, length, share / rank);
    }
  } else if (measure.kind == "scales") {
    for (int layer = 0; layer < 2; layer++)
      for (int head = 0; head < 2; head++) {
        add("", layer, head, 0.1 + wave(run, layer));
        if (run.normalizer != "ssmax") add(".bias", layer, head, 0.2 + wave(run, head));
      }
  } else if (measure.kind == "length-scale") {
    for (int n = 1; n <= 256; n++) add("", n, 0, 0.5 + 0.2 * std::log(n) + wave(run, n));
  } else if (measure.kind == "attention") {
    for (double update : {1.0, 300.0, 600.0}) {
      for (double place : {0.0, 0.01, 1.0, 1.01})
        for (const char* end : {"", ".saturated"}) add(end, update, place, 0.3 / loss + wave(run, place));
      for (const char* end : {".entropy", ".row_sum_mean", ".dweight_norm", ".dscore_norm"})
        for (int layer = 0; layer < 2; layer++) add(end, update, layer, 0.5 + wave(run, layer));
      for (int bin = -8; bin < 8; bin++) add(".scores", bin + 0.5, update, std::exp(-bin * bin / 9.0));
    }
  }
  return result;
}

// Every run of the experiment as if it had ended at the loss made up for it.
void make_up(Experiment& experiment, const MadeUpLoss& loss_of) {
  while (!experiment.missing().empty()) {
    std::vector<RunPlan> runs;  // copies: the plan changes
    for (const RunPlan* run : experiment.missing()) runs.push_back(*run);
    for (const RunPlan& run : runs) {
      ResultRow row;
      row.run = run.name, row.group = run.group, row.normalizer = run.normalizer, row.data = run.data;
      row.variant = run.variant, row.lr = run.lr, row.seed = run.seed;
      row.steps = effective_options(run).steps, row.tokens = 4096 * row.steps;
      row.options_hash = run.hash(), row.options = run.options_text();
      const double loss = loss_of(run) + wave(run, double(run.normalizer.size())) +
                          0.05 * std::pow(std::log2(run.lr / 0.008), 2) * (run.group == kTuning);
      row.status = std::isfinite(loss) ? "done" : "diverged";
      std::vector<Measurement> measurements;
      if (std::isfinite(loss)) row.val_loss = loss;
      if (std::isfinite(loss) && run.group != kTuning) {
        row.test_loss = loss;
        for (int64_t step = 0; step <= row.steps; step += 100)
          measurements.push_back({run.name, "val_loss", double(step), 0, loss + 4 * std::exp(-double(step) / 100)});
        for (const MeasureSpec& measure : experiment.measures_of(run)) {
          row.measures += (row.measures.empty() ? "" : " ") + measure.name + "=" + measure.hash();
          for (const Measurement& m : made_up(measure, run, loss)) measurements.push_back(m);
        }
      }
      experiment.records.add(row, measurements);
    }
    experiment.update_plan();
  }
}

// A copy of a committed experiment, without its records.
struct Fixture {
  TempDir temp;
  RunnerOptions options;
  std::string name, folder;

  explicit Fixture(const std::string& experiment) : name(experiment), folder((temp.path / experiment).string()) {
    fs::create_directories(folder);
    fs::copy("train/experiments/" + name + "/experiment.json", folder);
    options.root = temp.path.string();
  }
  // results.md of what is made up.
  std::string report(const MadeUpLoss& loss_of) const {
    Experiment experiment(options, name);
    make_up(experiment, loss_of);
    write_report(experiment);
    return read_file(folder + (options.scale == "small" ? "/results.md" : "/results-" + options.scale + ".md"));
  }
};

MadeUpLoss lower_by(double difference, const std::string& normalizer) {
  return [=](const RunPlan& run) { return run.normalizer == normalizer ? 1.1 - difference : 1.1; };
}

size_t count(const std::string& text, const std::string& word) {
  size_t found = 0;
  for (size_t place = text.find(word); place != std::string::npos; place = text.find(word, place + 1)) found++;
  return found;
}

}  // namespace

TEST_CASE("reports: every experiment makes its tables and figures of what its runs would leave", "[core][reports]") {
  for (const std::string& name : experiment_names("train/experiments")) {
    INFO(name);
    const Fixture fixture(name);
    if (Experiment(fixture.options, name).configuration.groups.empty()) continue;
    const std::string text = fixture.report([](const RunPlan&) { return 1.1; });
    CHECK(count(text, "unfinished") == 0);
    CHECK(count(text, "not judged") == 0);
    CHECK(count(text, "nan") == 0);
    CHECK(count(text, "inf ") == 0);
    CHECK(count(text, ".svg)") > 0);
    for (const fs::directory_entry& entry : fs::directory_iterator(fixture.folder))
      if (entry.path().extension() == ".svg") CHECK(contains(read_file(entry.path().string()), "</svg>"));
  }
}

TEST_CASE("reports: every experiment counts runs that diverged", "[core][reports]") {
  for (const std::string& name : experiment_names("train/experiments")) {
    INFO(name);
    const Fixture fixture(name);
    const Configuration configuration = Experiment(fixture.options, name).configuration;
    if (configuration.groups.empty()) continue;
    auto diverged = [&](const RunPlan& run) {
      const bool has_baseline_alone = name == "noise";
      const bool is_one = run.group != kTuning && run.seed == configuration.groups.front().last_seed &&
                          (has_baseline_alone || run.normalizer != configuration.baseline);
      return is_one ? HUGE_VAL : 1.1;
    };
    const std::string text = fixture.report(diverged);
    CHECK(contains(text, "diverged"));
    CHECK(count(text, "not judged") > 0);
    CHECK(count(text, "nan") == 0);
  }
}

TEST_CASE("reports: a verdict follows from the primary comparison", "[core][reports]") {
  const std::string lower = Fixture("loss-curves").report(lower_by(0.02, "ssmax"));
  CHECK(contains(lower, "| ssmax − softmax = −0.02"));
  CHECK(count(lower, "| reproduced |") == 1);  // of two claims, one
  CHECK(count(lower, "| not resolved at this scale |") == 1);
  const std::string higher = Fixture("loss-curves").report(lower_by(-0.02, "ssmax"));
  CHECK(contains(higher, "| ssmax − softmax = +0.0"));
  CHECK(count(higher, "| not reproduced |") == 1);
}

TEST_CASE("reports: needle compares models that learned the task, by seed", "[core][reports]") {
  auto with = [](const std::function<bool(const RunPlan&)>& is_learned) {
    return Fixture("needle").report([=](const RunPlan& run) {
      return !is_learned(run) ? 2.5 : run.normalizer == "ssmax" ? 0.2 : 1.1;
    });
  };
  const std::string some = with([](const RunPlan& run) { return run.normalizer != "softmax" || run.seed != 8; });
  CHECK(contains(some,
                 "| 3 of 4 models with softmax and 4 of 4 with ssmax find 95 % of the values at T; where both do, "));
  CHECK(contains(some, "theta × 50 (3 seeds) | reproduced |"));
  CHECK(contains(some, ", 0.10, "));
  const std::string none = with([](const RunPlan& run) { return run.normalizer == "sa_softmax"; });
  CHECK(contains(none,
                 "| 0 of 4 models with softmax and 0 of 4 with ssmax find 95 % of the values at T | not learned at"));
  const std::string apart = with([](const RunPlan& run) { return (run.normalizer == "softmax") == (run.seed == 8); });
  CHECK(contains(apart,
                 "| 1 of 4 models with softmax and 3 of 4 with ssmax find 95 % of the values at T | not resolved"));
  CHECK(count(some + none + apart, "nan") == 0);
}

TEST_CASE("reports: what is not finished is not judged", "[core][reports]") {
  const Fixture fixture("loss-curves");
  fixture.report([](const RunPlan&) { return 1.1; });
  Experiment experiment(fixture.options, fixture.name);
  experiment.records.remove({experiment.plan.runs.back().name});
  write_report(experiment);
  CHECK(contains(read_file(fixture.folder + "/results.md"), "| 1 run is not recorded yet | unfinished |"));
}

TEST_CASE("reports: what lacks a measurement is not judged", "[core][reports]") {
  const Fixture fixture("length");
  fixture.report([](const RunPlan&) { return 1.1; });
  Experiment experiment(fixture.options, fixture.name);
  const auto is_ssmax = [](const RunPlan& run) { return run.normalizer == "ssmax" && run.group == "rope"; };
  const auto run = std::find_if(experiment.plan.runs.begin(), experiment.plan.runs.end(), is_ssmax);
  const std::string name = run->name;
  const ResultRow row = *experiment.records.find(name);
  experiment.records.remove({name});
  experiment.records.add(row, {});
  write_report(experiment);
  const std::string text = read_file(fixture.folder + "/results.md");
  CHECK(contains(text, "or a measurement is missing or not finite | not judged |"));
  CHECK(count(text, "| not judged |") == 1);  // of two claims, that of ssmax
}

TEST_CASE("reports: a best rate at the end of its grid is marked, as is one that was chosen by softmax for all",
          "[core][reports]") {
  const std::string text = Fixture("loss-curves").report([](const RunPlan& run) {
    return run.group == kTuning && run.normalizer == "ssmax" ? 1.1 - 0.6 * std::log2(run.lr / 0.008) : 1.1;
  });
  CHECK(count(text, "** (end)") == 1);
  CHECK(count(text, "beyond it there may be a better rate") == 1);
  CHECK(count(text, "all at softmax's rate") == 0);
  const std::string one_rate = Fixture("length").report([](const RunPlan&) { return 1.1; });
  CHECK(count(one_rate, "RoPE, all at softmax's rate |") == 1);
}

TEST_CASE("reports: a logarithmic panel shows what is above 0, and is left out where nothing is", "[core][reports]") {
  Panel panel;
  panel.log_y = true;
  Series series;
  series.x = {1, 2, 3}, series.y = plain({0, 0.5, 2});
  panel.series = {series};
  CHECK(contains(figure_script({panel}), "set ytics (0.5, 1, 2)"));
  panel.series[0].y = plain({0, -1, std::nan("")});
  CHECK(figure_script({panel}).empty());
}

TEST_CASE("reports: those of another scale name its data and its figures", "[core][reports]") {
  Fixture fixture("switch");
  fs::copy("train/experiments/large.json", fixture.temp.path);
  fixture.options.scale = "large";
  const std::string text = fixture.report([](const RunPlan&) { return 1.1; });
  CHECK(contains(text, "](switch-large.svg)"));
  CHECK(contains(text, "EXPERIMENT=switch SCALE=large"));
  CHECK(contains(text, "| `gcide`, 5 seeds"));
  CHECK(count(text, "kjv") == 0);
}
