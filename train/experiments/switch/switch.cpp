// switch: SSMax put in the place of softmax after training, (e), and for the last eighth of it, (f), against softmax
// throughout, (a), and SSMax throughout, (b).
#include <cmath>

#include "train/comparison.h"
#include "train/experiments/report.h"

namespace {

constexpr const char* kPosition = "position-theta50";

struct Entry {
  std::string name, group, normalizer, variant;
};

const std::vector<Entry> kEntries{
    {"(a) softmax throughout", "throughout", "softmax", ""},
    {"(b) ssmax throughout", "throughout", "ssmax", ""},
    {"(e) ssmax after training", "after", "ssmax", "e"},
    {"(e) and 50 updates", "after-and-tuned", "ssmax", "e50"},
    {"softmax and 50 updates", "after-and-tuned", "softmax", "e50"},
    {"(f) ssmax in the last eighth", "last-eighth", "ssmax", "f"},
};
constexpr size_t kA = 0, kB = 1, kE = 2, kF = 5;  // their places

// By entry; none where one is not recorded at all.
std::vector<Sample> recorded_entries(const Experiment& experiment) {
  std::vector<Sample> result;
  for (const Entry& entry : kEntries)
    for (const Sample& sample : samples_of(experiment, entry.group))
      if (sample.normalizer == entry.normalizer && sample.variant == entry.variant) result.push_back(sample);
  if (result.size() < kEntries.size()) result.clear();
  return result;
}

// Of each entry from one of them, with p.
struct Differences {
  std::vector<Estimate> values;
  std::vector<double> p;
};
Differences differences_from(const std::vector<Sample>& entries, size_t base, const RunValue& value, size_t primary) {
  Differences result;
  std::vector<bool> is_primary;
  for (size_t i = 0; i < entries.size(); i++) {
    result.values.push_back(i == base ? Estimate() : estimate(paired_values(entries[i], entries[base], value)));
    is_primary.push_back(i == primary);
  }
  result.p = corrected_p(result.values, is_primary);
  return result;
}

Panel curves_panel(const Experiment& experiment, const std::vector<Sample>& entries) {
  Panel panel = position_panel(experiment, "RoPE, theta × 50");
  for (size_t i = 0; i < entries.size(); i++) {
    if (entries[i].diverged > 0) continue;
    const CurveOfMeans curve = mean_curve(experiment, entries[i], kPosition);
    Series series;
    series.label = kEntries[i].name;
    series.style = i;
    series.x = curve.x, series.y = curve.y;
    panel.series.push_back(series);
  }
  return panel;
}

}  // namespace

Report report_switch(const Experiment& experiment) {
  Report report;
  const std::vector<Sample> entries = recorded_entries(experiment);
  if (entries.empty()) return report;
  auto long_loss = [&](const ResultRow& row) {  // the mean over the whole window of 16 T
    std::vector<double> losses;
    for (const Measurement& m : experiment.records.measured(row.run, kPosition)) losses.push_back(m.value);
    return estimate(losses).mean;
  };
  // The primary comparisons: (e) with (a) at T, where it should struggle, and (f) with (a) at 16 T.
  const Differences at_T = differences_from(entries, kA, final_test_loss, kE),
                    at_16T = differences_from(entries, kA, long_loss, kF),
                    from_ssmax = differences_from(entries, kB, long_loss, kF);

  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < entries.size(); i++)
    rows.push_back({kEntries[i].name + (i == kE   ? " (primary, at T)"
                                        : i == kF ? " (primary, at 16 T)"
                                                  : ""),
                    std::to_string(entries[i].rows.size()),
                    entries[i].diverged > 0 ? std::to_string(entries[i].diverged) + " diverged"
                                            : with_interval(estimate(values_of(entries[i]))),
                    signed_with_interval(at_T.values[i]), p_text(at_T.p[i]),
                    with_interval(estimate(values_of(entries[i], long_loss))), signed_with_interval(at_16T.values[i]),
                    p_text(at_16T.p[i]), signed_with_interval(from_ssmax.values[i])});
  report.body =
      "Softmax with 50 updates more is the control for (e) with 50. s starts at 1/mean ln n, at which SSMax's mean\n"
      "temperature is softmax's.\n\n" +
      markdown_table({"configuration", "seeds", "test loss at T [nats]", "minus (a)", "*p*",
                      "at 16 T, theta × 50 [nats]", "minus (a)", "*p*", "minus (b)"},
                     rows);
  report.figures.push_back({"switch", figure_script({curves_panel(experiment, entries)})});

  const std::string seeds = ", " + std::to_string(entries[kA].rows.size()) + " seeds";
  report.findings.resize(2);
  if (at_T.values[kE].count > 0)
    report.findings[0] = {"`kjv`, (e): SSMax after training" + seeds,
                          "(e) − (a) = " + signed_with_interval(at_T.values[kE]) + " nats of test loss at T",
                          verdict_of(at_T.values[kE], false)};
  if (at_16T.values[kF].count > 0)
    report.findings[1] = {
        "`kjv`, (f): SSMax in the last eighth of training" + seeds,
        "(f) − (a) = " + signed_with_interval(at_16T.values[kF]) +
            " nats of test loss at 16 T, theta × 50; (b) − (a) = " + signed_with_interval(at_16T.values[kB]),
        verdict_of(at_16T.values[kF], true)};
  return report;
}
