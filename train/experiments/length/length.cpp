// length: the loss at positions beyond the training length, and the mean loss at 1/2 to 16 times that length.
#include <algorithm>
#include <cmath>

#include "train/comparison.h"
#include "train/experiments/figure.h"
#include "train/experiments/report.h"

namespace {

constexpr double kFactors[] = {0.5, 1, 2, 4, 8, 16};  // of the training length

double training_length(const Experiment& experiment) {
  return std::stod(experiment.configuration.options.at("seq-len"));
}

// Mean loss over the first `length` positions of a run: the pieces of the measurement that end within them.
double loss_at_length(const Experiment& experiment, const std::string& run, const std::string& quantity,
                      double length) {
  double sum = 0, count = 0;
  for (const Measurement& m : experiment.records.measured(run, quantity))
    if (m.x <= length) sum += m.value, count++;
  return sum / count;
}

Estimate losses_at_length(const Experiment& experiment, const Sample& sample, const std::string& quantity,
                          double length) {
  std::vector<double> losses;
  for (const ResultRow* row : sample.rows) losses.push_back(loss_at_length(experiment, row->run, quantity, length));
  return estimate(losses);
}

Estimate difference_at_length(const Experiment& experiment, const Sample& a, const Sample& b,
                              const std::string& quantity, double length) {
  std::vector<double> ours, theirs;
  for (const ResultRow* row : a.rows)
    for (const ResultRow* other : b.rows)
      if (row->seed == other->seed) {
        ours.push_back(loss_at_length(experiment, row->run, quantity, length));
        theirs.push_back(loss_at_length(experiment, other->run, quantity, length));
      }
  return paired_difference(ours, theirs);
}

struct Setting {
  std::string title, group, variant, quantity;
};

std::vector<const Sample*> of_variant(const std::vector<Sample>& samples, const std::string& variant) {
  std::vector<const Sample*> result;
  for (const Sample& sample : samples)
    if (sample.variant == variant) result.push_back(&sample);
  return result;
}

std::string table_of(const Experiment& experiment, const std::vector<const Sample*>& samples,
                     const std::string& quantity) {
  const double T = training_length(experiment);
  std::vector<std::string> header{"normalizer"};
  for (double factor : kFactors) header.push_back(fixed_text(factor, factor < 1 ? 1 : 0) + " T");
  std::vector<std::vector<std::string>> rows;
  for (const Sample* sample : samples) {
    rows.push_back({"`" + sample->normalizer + "`"});
    for (double factor : kFactors)
      rows.back().push_back(sample->diverged > 0
                                ? std::to_string(sample->diverged) + " diverged"
                                : with_interval(losses_at_length(experiment, *sample, quantity, factor * T), 3));
  }
  return markdown_table(header, rows);
}

Panel panel_of(const Experiment& experiment, const Setting& setting, const std::vector<const Sample*>& samples) {
  static const std::vector<std::string> order{"softmax", "ssmax", "sa_softmax", "ssmax_fixed", "ssmax_bias"};
  Panel panel;
  panel.x_label = "position (context size, tokens)";
  panel.y_label = "test loss (nats per token)";
  panel.legend_title = setting.title;
  panel.x_mark = training_length(experiment);
  panel.x_mark_label = "training length";
  for (const Sample* sample : samples) {
    if (sample->diverged > 0) continue;
    const CurveOfMeans curve = mean_curve(experiment, *sample, setting.quantity);
    Series series;
    series.label = sample->normalizer;
    series.style = size_t(std::find(order.begin(), order.end(), sample->normalizer) - order.begin());
    series.x = curve.x, series.y = curve.y;
    panel.series.push_back(series);
  }
  return panel;
}

}  // namespace

Report report_length(const Experiment& experiment) {
  const std::vector<Setting> settings{{"RoPE", "rope", "", "position"},
                                      {"RoPE, theta x 50", "rope", "", "position-theta50"},
                                      {"ALiBi", "other-positions", "alibi", "position"},
                                      {"no positions", "other-positions", "none", "position"}};
  Report report = unfinished_report();
  std::vector<Panel> panels;
  const double T = training_length(experiment);
  for (const Setting& setting : settings) {
    const std::vector<Sample> all = samples_of(experiment, setting.group);
    const std::vector<const Sample*> samples = of_variant(all, setting.variant);
    if (samples.empty()) continue;
    report.body += "## " + setting.title +
                   "\n\nMean test loss in windows of so many times the training length (T = " + fixed_text(T, 0) +
                   "):\n\n" + table_of(experiment, samples, setting.quantity) + "\n";
    panels.push_back(panel_of(experiment, setting, samples));
    if (setting.quantity != "position-theta50") continue;
    // The primary comparison, as in Figure 5 of the SSMax paper: theta times 50, the longest context.
    const Sample *base = nullptr, *primary = nullptr;
    for (const Sample* sample : samples) {
      if (sample->normalizer == experiment.configuration.baseline) base = sample;
      if (sample->normalizer == experiment.configuration.primary) primary = sample;
    }
    if (!base || !primary || base->diverged + primary->diverged > 0) continue;
    const Estimate difference = difference_at_length(experiment, *primary, *base, setting.quantity, 16 * T);
    report.setting = "`kjv`, trained at T = " + fixed_text(T, 0) + ", windows of 16 T, theta × 50, " +
                     std::to_string(difference.count) + " seeds";
    report.result = "ssmax − softmax = " + signed_with_interval(difference) + " nats of test loss";
    report.verdict = !is_resolved(difference) ? kNotResolved : difference.mean < 0 ? kReproduced : kNotReproduced;
  }
  if (!panels.empty()) report.figures.push_back({"length", figure_script(panels)});
  return report;
}
