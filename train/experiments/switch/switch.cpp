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

}  // namespace

Report report_switch(const Experiment& experiment) {
  Report report;
  std::vector<std::pair<Entry, Sample>> found;
  for (const Entry& entry : kEntries)
    for (const Sample& sample : samples_of(experiment, entry.group))
      if (sample.normalizer == entry.normalizer && sample.variant == entry.variant) found.push_back({entry, sample});
  if (found.size() < kEntries.size()) return report;

  std::vector<std::vector<std::string>> rows;
  Panel panel = position_panel(experiment, "RoPE, theta × 50");
  auto long_loss = [&](const ResultRow& row) {  // the mean over the whole window of 16 T
    std::vector<double> losses;
    for (const Measurement& m : experiment.records.measured(row.run, kPosition)) losses.push_back(m.value);
    return estimate(losses).mean;
  };
  const Sample &softmax = found[0].second, &ssmax = found[1].second;
  // The primary comparisons: (e) with (a) at T, where it should struggle, and (f) with (a) at 16 T.
  auto primary_short = [](const Entry& entry) { return entry.variant == "e"; };
  auto primary_long = [](const Entry& entry) { return entry.variant == "f"; };
  std::vector<double> p_short, p_long;
  std::vector<Estimate> differences, longer_differences;
  for (size_t i = 0; i < found.size(); i++) {
    const auto& [entry, sample] = found[i];
    differences.push_back(i == 0 ? Estimate() : estimate(paired_values(sample, softmax)));
    longer_differences.push_back(i == 0 ? Estimate() : estimate(paired_values(sample, softmax, long_loss)));
    p_short.push_back(primary_short(entry) ? kMissing : p_value(differences[i]));
    p_long.push_back(primary_long(entry) ? kMissing : p_value(longer_differences[i]));
    if (sample.diverged > 0) continue;
    Series series;
    series.label = entry.name;
    series.style = i;
    const CurveOfMeans curve = mean_curve(experiment, sample, kPosition);
    series.x = curve.x, series.y = curve.y;
    panel.series.push_back(series);
  }
  const std::vector<double> corrected = holm(p_short), corrected_long = holm(p_long);
  for (size_t i = 0; i < found.size(); i++) {
    const auto& [entry, sample] = found[i];
    const std::string primary = primary_short(entry)  ? " (primary, at T)"
                                : primary_long(entry) ? " (primary, at 16 T)"
                                                      : "";
    const Estimate minus_ssmax = i == 1 ? Estimate() : estimate(paired_values(sample, ssmax, long_loss));
    rows.push_back({entry.name + primary, std::to_string(sample.rows.size()),
                    sample.diverged > 0 ? std::to_string(sample.diverged) + " diverged"
                                        : with_interval(estimate(values_of(sample))),
                    signed_with_interval(differences[i]),
                    p_text(primary_short(entry) ? p_value(differences[i]) : corrected[i]),
                    with_interval(estimate(values_of(sample, long_loss))), signed_with_interval(longer_differences[i]),
                    p_text(primary_long(entry) ? p_value(longer_differences[i]) : corrected_long[i]),
                    signed_with_interval(minus_ssmax)});
  }
  report.body =
      "Softmax with 50 updates more is the control for (e) with 50. s starts at 1/mean ln n, at which SSMax's mean\n"
      "temperature is softmax's.\n\n" +
      markdown_table({"configuration", "seeds", "test loss at T [nats]", "minus (a)", "*p*",
                      "at 16 T, theta × 50 [nats]", "minus (a)", "*p*", "minus (b)"},
                     rows);
  report.figures.push_back({"switch", figure_script({panel})});
  const size_t last = found.size() - 1;
  const std::string seeds = ", " + std::to_string(softmax.rows.size()) + " seeds";
  report.findings.resize(2);
  if (differences[2].count > 0)
    report.findings[0] = {"`kjv`, (e): SSMax after training" + seeds,
                          "(e) − (a) = " + signed_with_interval(differences[2]) + " nats of test loss at T",
                          verdict_of(differences[2], false)};
  if (longer_differences[last].count > 0)
    report.findings[1] = {
        "`kjv`, (f): SSMax in the last eighth of training" + seeds,
        "(f) − (a) = " + signed_with_interval(longer_differences[last]) +
            " nats of test loss at 16 T, theta × 50; (b) − (a) = " + signed_with_interval(longer_differences[1]),
        verdict_of(longer_differences[last], true)};
  return report;
}
