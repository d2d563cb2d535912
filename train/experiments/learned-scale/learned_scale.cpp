// learned-scale: the scale of the scores that a model learns for each context size n, fitted by a_1 ln n + a_2. p_n itself is
// known up to r p_n + c only, for s / r and b - c s / r undo that; so what is fitted is c_n = s p_n + b, s and b being means
// over all heads, which the data do fix.
#include <cmath>
#include <map>

#include "train/comparison.h"
#include "train/experiments/figure.h"
#include "train/experiments/report.h"

namespace {

constexpr double kLeastRSquared = 0.9;  // named before the runs: of the mean over seeds, for the claim of a logarithm

double mean_of(const std::vector<Measurement>& measurements) {
  std::vector<double> values;
  for (const Measurement& m : measurements) values.push_back(m.value);
  return estimate(values).mean;
}

// c_n of the runs by n, for n >= 2: the only key of the first query has weight 1 whatever its scale is.
CurveOfMeans scales_of(const Experiment& experiment, const std::vector<const ResultRow*>& rows) {
  std::map<double, std::vector<double>> by_size;
  for (const ResultRow* row : rows) {
    const double s = mean_of(experiment.records.measured(row->run, "scale")),
                 b = mean_of(experiment.records.measured(row->run, "scale.bias"));
    for (const Measurement& m : experiment.records.measured(row->run, "length-scale"))
      if (m.x >= 2) by_size[m.x].push_back(s * m.value + b);
  }
  CurveOfMeans curve;
  for (const auto& [n, values] : by_size) {
    curve.x.push_back(n);
    curve.y.push_back(estimate(values));
  }
  return curve;
}

Line fit_of(const CurveOfMeans& curve, double least_n = 2) {
  std::vector<double> logs, values;
  for (size_t i = 0; i < curve.x.size(); i++)
    if (curve.x[i] >= least_n) logs.push_back(std::log(curve.x[i])), values.push_back(curve.y[i].mean);
  return fit_line(logs, values);
}

}  // namespace

Report report_learned_scale(const Experiment& experiment) {
  Report report;
  const std::vector<Sample> samples = samples_of(experiment, "kjv");
  const Sample *learned = find_sample(samples, "learned_scale"),
               *base = find_sample(samples, experiment.configuration.baseline);
  if (!learned || !base) return report;
  if (learned->diverged > 0) {
    report.body =
        std::to_string(learned->diverged) + " of " + std::to_string(learned->rows.size()) + " runs diverged.\n";
    return report;
  }

  std::vector<double> slopes, intercepts, explained;
  for (const ResultRow* row : learned->rows) {
    const Line line = fit_of(scales_of(experiment, {row}));
    slopes.push_back(line.slope), intercepts.push_back(line.intercept), explained.push_back(line.r_squared);
  }
  const CurveOfMeans mean = scales_of(experiment, learned->rows);
  if (mean.x.empty()) return report;  // measurements.csv is not there
  const Line line = fit_of(mean);
  Panel panel;
  panel.x_label = "context size n (tokens)";
  panel.y_label = "learned scale c_n (softmax has 1)";
  panel.log_x = true;
  Series points, fit;
  points.label = "c_n, mean and 95 % interval";
  points.style = 0;
  points.x = mean.x, points.y = mean.y;
  fit.label = "a_1 ln n + a_2";
  fit.style = 1;
  std::vector<double> fitted;
  for (double n : mean.x) fit.x.push_back(n), fitted.push_back(line.slope * std::log(n) + line.intercept);
  fit.y = plain(fitted);
  panel.series = {points, fit};
  report.figures.push_back({"learned-scale", figure_script({panel})});

  const Estimate slope = estimate(slopes);
  const double without_2 = fit_of(mean, 3).r_squared;
  report.body =
      markdown_table(
          {"fit of c_n = a_1 ln n + a_2, n = 2 to " + fixed_text(mean.x.back(), 0), "over seeds"},
          {{"a_1", with_interval(slope)},
           {"a_2", with_interval(estimate(intercepts))},
           {"R² of each seed", with_interval(estimate(explained), 3)},
           {"R² of the mean over seeds", fixed_text(line.r_squared, 3)},
           {"the same without n = 2, which was looked at after the runs", fixed_text(without_2, 3)},
           {"test loss − softmax's [nats]", signed_with_interval(estimate(paired_values(*learned, *base)))}}) +
      "\nThe paper's form is not known beyond what is told of it: here the weights are softmax((s p_n + b) z), s and "
      "b\n"
      "for each layer and head, one p_n for each context size; c_n = s p_n + b with the means of s and b over all "
      "heads.\n"
      "That it grows with the logarithm is called reproduced where a_1 is above 0 and R² of the mean over seeds at "
      "least " +
      fixed_text(kLeastRSquared, 1) +
      ",\n"
      "which was fixed before the runs.\n";
  Finding finding;
  finding.setting = data_and_seeds(*learned) + ", n up to " + fixed_text(mean.x.back(), 0);
  finding.result = "c_n = a_1 ln n + a_2 with a_1 = " + with_interval(slope, 3) +
                   ", R² = " + fixed_text(line.r_squared, 3) + " for the mean over seeds, of which at least " +
                   fixed_text(kLeastRSquared, 1) + " was asked (without n = 2 " + fixed_text(without_2, 3) +
                   ", looked at afterwards)";
  finding.verdict = verdict_of(slope, false);
  if (finding.verdict == kReproduced && line.r_squared < kLeastRSquared) finding.verdict = kNotReproduced;
  report.findings = {finding};
  return report;
}
