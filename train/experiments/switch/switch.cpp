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
constexpr size_t kA = 0, kB = 1, kE = 2, kE50 = 3, kA50 = 4, kF = 5;  // their places
// Numbers for line_style(): what is compared most differs in colour and dash.
constexpr size_t kStyles[] = {0, 1, 2, 6, 4, 3};

// By entry; none where one is not recorded at all.
std::vector<Sample> recorded_entries(const Experiment& experiment) {
  std::vector<Sample> result;
  for (const Entry& entry : kEntries)
    for (const Sample& sample : samples_of(experiment, entry.group))
      if (sample.normalizer == entry.normalizer && sample.variant == entry.variant) result.push_back(sample);
  if (result.size() < kEntries.size()) result.clear();
  return result;
}

// Of each entry from one of them.
std::vector<Estimate> differences_from(const std::vector<Sample>& entries, size_t base, const RunValue& value) {
  std::vector<Estimate> result;
  for (size_t i = 0; i < entries.size(); i++)
    result.push_back(i == base ? Estimate() : estimate(paired_values(entries[i], entries[base], value)));
  return result;
}

// The loss of each entry, minus (a)'s with p, minus (b)'s.
std::string losses_table(const std::vector<Sample>& entries, const std::string& what, const RunValue& value,
                         size_t primary) {
  const std::vector<Estimate> from_a = differences_from(entries, kA, value),
                              from_b = differences_from(entries, kB, value);
  std::vector<bool> is_primary(entries.size(), false);
  is_primary[primary] = true;
  const std::vector<double> p = corrected_p(from_a, is_primary);
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < entries.size(); i++)
    rows.push_back({kEntries[i].name + (i == primary ? " (primary, minus (a))" : ""),
                    std::to_string(entries[i].rows.size()), mean_text(entries[i], value),
                    signed_with_interval(from_a[i]), p_text(p[i]), signed_with_interval(from_b[i])});
  return markdown_table({"configuration", "seeds", what, "minus (a)", "*p*", "minus (b)"}, rows);
}

// Minus (a), by position.
std::string spans_table(const Experiment& experiment, const std::vector<Sample>& entries) {
  const double T = sequence_length(experiment.configuration);
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < entries.size(); i++) {
    if (i == kA) continue;
    rows.push_back({kEntries[i].name});
    for (const auto& [from, to] : {std::pair(0.0, T / 4), std::pair(T / 4, T), std::pair(T, 2 * T),
                                   std::pair(2 * T, 8 * T), std::pair(15 * T, 16 * T)})
      rows.back().push_back(signed_with_interval(
          estimate(paired_values(entries[i], entries[kA], loss_at_positions(experiment, kPosition, from, to))), 3));
  }
  return markdown_table({"configuration", "0 to T/4", "T/4 to T", "T to 2 T", "2 T to 8 T", "15 T to 16 T"}, rows);
}

std::vector<Panel> panels_of(const Experiment& experiment, const std::vector<Sample>& entries) {
  Panel losses = position_panel(experiment, "RoPE, theta × 50"), differences = losses;
  differences.y_label = "minus (a)'s (nats per token)";
  differences.legend_title = "paired by seed";
  differences.zero_line = true;
  for (size_t i = 0; i < entries.size(); i++) {
    if (entries[i].diverged > 0) continue;
    const CurveOfMeans curve = mean_curve(experiment, entries[i], kPosition);
    Series series;
    series.label = kEntries[i].name;
    series.style = kStyles[i];
    series.x = curve.x, series.y = curve.y;
    losses.series.push_back(series);
    if (i == kA || entries[kA].diverged > 0) continue;
    const CurveOfMeans difference = difference_curve(experiment, entries[i], entries[kA], kPosition);
    series.x = difference.x, series.y = difference.y;
    differences.series.push_back(series);
  }
  return {losses, differences};
}

}  // namespace

Report report_switch(const Experiment& experiment) {
  Report report;
  const std::vector<Sample> entries = recorded_entries(experiment);
  if (entries.empty()) return report;
  const double T = sequence_length(experiment.configuration);
  const RunValue long_loss = loss_at_positions(experiment, kPosition, 0, 16 * T);
  report.body =
      "s starts at 1/mean ln n, at which SSMax's mean temperature is softmax's. The two primary comparisons are (e)\n"
      "with (a) at the training length T = " +
      fixed_text(T, 0) + ", where it should struggle, with theta as in training:\n\n" +
      losses_table(entries, "test loss, contexts of 1 to T [nats]", final_test_loss, kE) +
      "\nand (f) with (a) in windows of 16 T:\n\n" +
      losses_table(entries, "test loss, contexts of 1 to 16 T, theta × 50 [nats]", long_loss, kF) +
      "\nOf (e) with 50 updates, softmax with 50 updates is the control: minus that, its test loss at T is " +
      signed_with_interval(estimate(paired_values(entries[kE50], entries[kA50]))) +
      " nats.\n\nMinus (a) with theta × 50 by position, which was looked at after the runs, and is not corrected for "
      "how\n"
      "many there are:\n\n" +
      spans_table(experiment, entries);
  report.figures.push_back({"switch", figure_script(panels_of(experiment, entries))});

  auto minus_a = [&](size_t entry, const RunValue& value) {
    return estimate(paired_values(entries[entry], entries[kA], value));
  };
  report.findings.resize(2);
  if (const Estimate e = minus_a(kE, final_test_loss); e.count > 0)
    report.findings[0] = {data_and_seeds(entries[kE]) + ", (e): SSMax after training; theta as in training",
                          "(e) − (a) = " + signed_with_interval(e) +
                              " nats of test loss, mean over contexts of 1 to T; (b) − (a) = " +
                              signed_with_interval(minus_a(kB, final_test_loss)),
                          verdict_of(e, false)};
  if (const Estimate f = minus_a(kF, long_loss); f.count > 0)
    report.findings[1] = {data_and_seeds(entries[kF]) + ", (f): SSMax in the last eighth of training",
                          "(f) − (a) = " + signed_with_interval(f) +
                              " nats of test loss, mean over contexts of 1 to 16 T, theta × 50; (b) − (a) = " +
                              signed_with_interval(minus_a(kB, long_loss)),
                          verdict_of(f, true)};
  return report;
}
