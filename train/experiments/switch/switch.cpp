// switch: SSMax put in the place of softmax after training, (e), and for the last eighth of it, (f), against softmax
// throughout, (a), and SSMax throughout, (b).
#include <cmath>

#include "train/comparison.h"
#include "train/experiments/figure.h"
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

// Mean over the whole window of 16 T, by run.
Sample with_long_losses(const Experiment& experiment, const Sample& sample, std::vector<ResultRow>& rows) {
  Sample result = sample;
  result.rows.clear();
  rows.reserve(sample.rows.size());
  for (const ResultRow* row : sample.rows) {
    double sum = 0, count = 0;
    for (const Measurement& m : experiment.records.measured(row->run, kPosition)) sum += m.value, count++;
    rows.push_back(*row);
    rows.back().test_loss = sum / count;
    result.rows.push_back(&rows.back());
  }
  return result;
}

}  // namespace

Report report_switch(const Experiment& experiment) {
  Report report = unfinished_report();
  std::vector<std::pair<Entry, Sample>> found;
  for (const Entry& entry : kEntries)
    for (const Sample& sample : samples_of(experiment, entry.group))
      if (sample.normalizer == entry.normalizer && sample.variant == entry.variant) found.push_back({entry, sample});
  if (found.size() < kEntries.size()) return report;

  std::vector<std::vector<std::string>> rows;
  Panel panel;
  panel.x_label = "position (context size, tokens)";
  panel.y_label = "test loss (nats per token)";
  panel.legend_title = "RoPE, theta x 50";
  panel.x_mark = std::stod(experiment.configuration.options.at("seq-len"));
  panel.x_mark_label = "training length";
  std::vector<std::vector<ResultRow>> storage(found.size());
  std::vector<Sample> longer;
  std::vector<double> p_values;
  std::vector<Estimate> differences, longer_differences;
  for (size_t i = 0; i < found.size(); i++) {
    const auto& [entry, sample] = found[i];
    longer.push_back(with_long_losses(experiment, sample, storage[i]));
    differences.push_back(i == 0 ? Estimate() : estimate(paired_losses(sample, found[0].second)));
    longer_differences.push_back(i == 0 ? Estimate() : estimate(paired_losses(longer[i], longer[0])));
    const bool primary = entry.group == "last-eighth";
    p_values.push_back(primary ? kMissing : p_value(differences[i]));
    Series series;
    series.label = entry.name;
    series.style = i;
    const CurveOfMeans curve = mean_curve(experiment, sample, kPosition);
    series.x = curve.x, series.y = curve.y;
    panel.series.push_back(series);
  }
  const std::vector<double> corrected = holm(p_values);
  for (size_t i = 0; i < found.size(); i++) {
    const bool primary = found[i].first.group == "last-eighth";
    const double p = primary ? p_value(differences[i]) : corrected[i];
    const std::string verdict = i == 0                                     ? "-"
                                : !is_resolved(differences[i]) || p > 0.05 ? "not resolved"
                                : differences[i].mean < 0                  ? "lower"
                                                                           : "higher";
    rows.push_back({found[i].first.name + (primary ? " (primary)" : ""), std::to_string(found[i].second.rows.size()),
                    with_interval(estimate(found[i].second.losses())),
                    i == 0 ? "-" : signed_with_interval(differences[i]), i == 0 ? "-" : fixed_text(p, 3), verdict,
                    with_interval(estimate(longer[i].losses())),
                    i == 0 ? "-" : signed_with_interval(longer_differences[i])});
  }
  report.body =
      "(e) without an update and (e) with 50 are the same run evaluated twice; softmax with 50 updates more is the\n"
      "control for the latter. s starts at 1/mean ln n, at which SSMax's mean temperature is softmax's.\n\n" +
      markdown_table({"configuration", "seeds", "test loss at T [nats]", "minus (a) [nats]", "*p*", "it is",
                      "at 16 T, theta × 50 [nats]", "minus (a) [nats]"},
                     rows);
  report.figures.push_back({"switch", figure_script({panel})});
  const size_t last = found.size() - 1;
  report.setting = "`kjv`, SSMax in the last eighth of training, " + std::to_string(differences[last].count) + " seeds";
  report.result = "(f) − (a) = " + signed_with_interval(differences[last]) + " nats at T, " +
                  signed_with_interval(longer_differences[last]) +
                  " at 16 T; (e) − (a) = " + signed_with_interval(differences[2]) + " at T";
  report.verdict = !is_resolved(longer_differences[last]) ? kNotResolved
                   : longer_differences[last].mean < 0    ? kReproduced
                                                          : kNotReproduced;
  return report;
}
