// gradients: how much of the gradient of its weights a normalizer passes on to its scores, jacobian = rms dL/dz over rms
// dL/da, during training; and how the scores are spread.
#include <cmath>
#include <map>
#include <set>

#include "train/comparison.h"
#include "train/experiments/figure.h"
#include "train/experiments/report.h"

namespace {

constexpr const char* kJacobian = "attention";
// Drawn; the table has all of them.
const std::vector<std::string> kDrawn{"softmax",      "ssmax",           "sa_softmax",   "sin_softmax",
                                      "norm_softmax", "sin2max_shifted", "norm_sirenmax"};

// Mean over layers and heads by update, of one run.
std::map<double, double> by_update(const Experiment& experiment, const std::string& run, const std::string& quantity) {
  std::map<double, std::vector<double>> heads;
  for (const Measurement& m : experiment.records.measured(run, quantity))
    if (std::isfinite(m.value)) heads[m.x].push_back(m.value);
  std::map<double, double> result;
  for (const auto& [update, values] : heads) result[update] = estimate(values).mean;
  return result;
}

// At update 1, and at the last record; NaN where there is none.
double first_value(const Experiment& experiment, const ResultRow& row, const std::string& quantity) {
  const std::map<double, double> curve = by_update(experiment, row.run, quantity);
  return curve.empty() ? kMissing : curve.begin()->second;
}
double last_value(const Experiment& experiment, const ResultRow& row, const std::string& quantity) {
  const std::map<double, double> curve = by_update(experiment, row.run, quantity);
  return curve.empty() ? kMissing : curve.rbegin()->second;
}

Panel curves_panel(const Experiment& experiment, const std::vector<Sample>& samples, const std::string& quantity,
                   const std::string& label, bool logarithmic) {
  Panel panel;
  panel.x_label = "update";
  panel.y_label = label;
  panel.log_y = logarithmic;
  panel.legend_title = "mean over layers, heads and seeds";
  for (const std::string& name : kDrawn)
    for (const Sample& sample : samples) {
      if (sample.normalizer != name || sample.diverged > 0) continue;
      std::map<double, std::vector<double>> points;
      for (const ResultRow* row : sample.rows)
        for (const auto& [update, value] : by_update(experiment, row->run, quantity)) points[update].push_back(value);
      Series series;
      series.label = name;
      series.style = place_of(name, kDrawn);
      series.band = false;
      for (const auto& [update, values] : points) {
        series.x.push_back(update);
        series.y.push_back(estimate(values));
      }
      panel.series.push_back(series);
    }
  return panel;
}

// The jacobian of every head at the last record, mean over seeds.
Panel heads_panel(const Experiment& experiment, const std::vector<Sample>& samples) {
  Panel panel;
  panel.x_label = "layer.head";
  panel.y_label = "jacobian at the end";
  panel.log_y = true;
  panel.legend_title = "mean over seeds";
  for (const std::string& name : kDrawn)
    for (const Sample& sample : samples) {
      if (sample.normalizer != name || sample.diverged > 0) continue;
      std::map<double, std::vector<double>> heads;
      for (const ResultRow* row : sample.rows) {
        const std::vector<Measurement> values = experiment.records.measured(row->run, kJacobian);
        for (const Measurement& m : values)
          if (m.x == values.back().x && std::isfinite(m.value)) heads[m.y].push_back(m.value);
      }
      Series series;
      series.label = name;
      series.style = place_of(name, kDrawn);
      series.line = series.band = false;
      series.points = true;
      for (const auto& [head, values] : heads) {
        series.x.push_back(double(series.x.size()));
        series.y.push_back(estimate(values));
      }
      if (panel.x_names.empty())
        for (const auto& [head, values] : heads)
          panel.x_names.push_back(fixed_text(std::floor(head), 0) + "." +
                                  fixed_text(100 * (head - std::floor(head)), 0));
      panel.series.push_back(series);
    }
  return panel;
}

// The scores of the first seed at the start, in the middle and at the end of training.
Panel scores_panel(const Experiment& experiment, const Sample& sample) {
  Panel panel;
  panel.x_label = "score z of " + sample.normalizer;
  panel.y_label = "density of scores";
  panel.log_y = true;
  std::map<double, Series> by_update;
  for (const Measurement& m : experiment.records.measured(sample.rows.front()->run, "attention.scores")) {
    if (!(m.value > 0)) continue;
    Series& series = by_update[m.y];
    series.x.push_back(m.x);
    series.y.push_back(plain({m.value})[0]);
  }
  for (auto& [update, series] : by_update) {
    series.label = "update " + fixed_text(update, 0);
    series.style = panel.series.size();
    panel.series.push_back(series);
  }
  return panel;
}

// The difference of the logarithms of two jacobians as their ratio, with its interval.
std::string ratio_text(const Estimate& log_ratio) {
  if (log_ratio.count == 0) return "-";
  const std::string ratio = fixed_text(std::exp(log_ratio.mean), 2);
  if (!log_ratio.has_interval()) return ratio;
  return ratio + " (" + fixed_text(std::exp(log_ratio.mean - log_ratio.half_width), 2) + " to " +
         fixed_text(std::exp(log_ratio.mean + log_ratio.half_width), 2) + ")";
}

// `log_ratios`: of the samples' jacobians to the baseline's at the end.
std::string jacobians_table(const Experiment& experiment, const std::vector<Sample>& samples,
                            const std::vector<Estimate>& log_ratios) {
  std::vector<bool> primaries;
  for (const Sample& sample : samples) primaries.push_back(is_primary(experiment.configuration, sample.normalizer));
  const std::vector<double> p = corrected_p(log_ratios, primaries);
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < samples.size(); i++) {
    const Sample& sample = samples[i];
    auto at_end = [&](const std::string& quantity, int decimals) {
      auto value = [&](const ResultRow& row) { return last_value(experiment, row, quantity); };
      return with_interval(estimate(values_of(sample, value)), decimals);
    };
    auto jacobian_at_start = [&](const ResultRow& row) { return first_value(experiment, row, kJacobian); };
    rows.push_back({"`" + sample.normalizer + "`" + (primaries[i] ? " (primary)" : ""),
                    std::to_string(sample.rows.size()) +
                        (sample.diverged > 0 ? ", " + std::to_string(sample.diverged) + " diverged" : ""),
                    with_interval(estimate(values_of(sample, jacobian_at_start)), 4), at_end(kJacobian, 4),
                    ratio_text(log_ratios[i]), p_text(p[i]), at_end("attention.saturated", 3),
                    at_end("attention.entropy", 3), at_end("attention.row_sum_mean", 3)});
  }
  return markdown_table({"normalizer", "seeds", "jacobian at update 1", "at the end", "over softmax's (95 %)", "*p*",
                         "saturated at the end", "entropy", "row sum"},
                        rows);
}

}  // namespace

Report report_gradients(const Experiment& experiment) {
  Report report;
  const std::vector<Sample> samples = samples_of(experiment, "all");
  const Sample* base = find_sample(samples, experiment.configuration.baseline);
  if (!base) return report;
  auto log_jacobian = [&](const ResultRow& row) { return std::log(last_value(experiment, row, kJacobian)); };
  std::vector<Estimate> log_ratios;
  for (const Sample& sample : samples)
    log_ratios.push_back(&sample == base ? Estimate() : estimate(paired_values(sample, *base, log_jacobian)));
  report.body =
      "jacobian: rms dL/dz over rms dL/da, mean over layers and heads; its ratio to softmax's at the end is the\n"
      "geometric mean over seeds. Saturated: share of rows with a weight above 0.99 of the row's; entropy: 1 for\n"
      "uniform weights.\n\n" +
      jacobians_table(experiment, samples, log_ratios);

  report.figures.push_back(
      {"gradients",
       figure_script({curves_panel(experiment, samples, kJacobian, "jacobian, rms dL/dz over rms dL/da", true),
                      curves_panel(experiment, samples, "attention.saturated", "share of saturated rows", false)})});
  std::vector<Panel> panels;
  for (const char* name : {"softmax", "ssmax", "sa_softmax", "sin2max_shifted", "norm_sirenmax"})
    for (const Sample& sample : samples)
      if (sample.normalizer == name) panels.push_back(scores_panel(experiment, sample));
  report.figures.push_back({"scores", figure_script(panels)});
  report.figures.push_back({"heads", figure_script({heads_panel(experiment, samples)})});

  auto saturated = [&](const ResultRow& row) { return last_value(experiment, row, "attention.saturated"); };
  report.findings.resize(experiment.configuration.claims.size());
  for (size_t claim = 0; claim < report.findings.size(); claim++)
    for (size_t i = 0; i < samples.size(); i++) {
      const std::string& name = experiment.configuration.claims[claim].primary;
      if (samples[i].normalizer != name || log_ratios[i].count == 0) continue;
      report.findings[claim] = {
          data_and_seeds(*base) + ", " + std::to_string(base->rows.front()->steps) + " updates",
          "at the end " + name + " passes on " + ratio_text(log_ratios[i]) + " times softmax's share of gradient; " +
              fixed_text(100 * estimate(values_of(*base, saturated)).mean, 1) + " % of softmax's rows are saturated",
          verdict_of(log_ratios[i], false)};
    }
  return report;
}
