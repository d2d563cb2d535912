// noise: what separates two runs that differ in nothing that matters. The seed changes weights and batches; the twin of a
// run has its seed, with every initial weight changed by one part in a million.
#include <cmath>

#include "train/comparison.h"
#include "train/experiments/figure.h"
#include "train/experiments/report.h"

namespace {

constexpr size_t kSeeds[] = {3, 5, 8, 12};  // for which power is shown

// The sd of a sample, or what is proportional to it, with its interval.
std::string sd_text(const Estimate& sample, double factor = 1) {
  const Interval interval = sd_interval(sample);
  return fixed_text(factor * sample.sd, 4) + " (" + fixed_text(factor * interval.low, 4) + " to " +
         fixed_text(factor * interval.high, 4) + ")";
}

Panel losses_panel(const Sample& runs, const Sample& twins) {
  Panel panel;
  panel.x_label = "seed", panel.y_label = "test loss (nats per token)";
  for (const ResultRow* row : runs.rows) panel.x_names.push_back(std::to_string(row->seed));
  for (const Sample* sample : {&runs, &twins}) {
    Series series;
    series.label = sample == &runs ? "run" : "its twin";
    series.style = sample == &runs ? 0 : 2;
    series.line = false, series.points = true;
    std::vector<double> losses;
    for (size_t i = 0; i < sample->rows.size(); i++) {
      series.x.push_back(double(i) + (sample == &runs ? -0.08 : 0.08));
      losses.push_back(sample->rows[i]->test_loss);
    }
    series.y = plain(losses);
    panel.series.push_back(series);
  }
  return panel;
}

// How fast runs part: the root mean square of their differences in validation loss, of a run from its twin and of two
// runs with different seeds.
Panel divergence_panel(const Experiment& experiment, const Sample& runs, const Sample& twins) {
  Panel panel;
  panel.x_label = "update";
  panel.y_label = "difference of validation losses, rms (nats)";
  panel.log_y = true;
  const CurveOfMeans losses = mean_curve(experiment, runs, "val_loss"),
                     differences = difference_curve(experiment, runs, twins, "val_loss");
  Series seeds, pairs;
  seeds.label = "two seeds", pairs.label = "a run and its twin";
  seeds.style = 0, pairs.style = 2;
  for (size_t i = 0; i < losses.x.size(); i++) {
    seeds.x.push_back(losses.x[i]);
    seeds.y.push_back(plain({std::sqrt(2.0) * losses.y[i].sd})[0]);
  }
  for (size_t i = 0; i < differences.x.size(); i++) {
    const Estimate& d = differences.y[i];
    const double n = double(d.count), square = (n - 1) / n * d.sd * d.sd + d.mean * d.mean;
    if (square == 0) continue;
    pairs.x.push_back(differences.x[i]);
    pairs.y.push_back(plain({std::sqrt(square)})[0]);
  }
  panel.series = {seeds, pairs};
  return panel;
}

}  // namespace

Report report_noise(const Experiment& experiment) {
  Report report;
  const std::vector<Sample> samples = samples_of(experiment, "twins");
  const double lr = samples.empty() ? 0 : samples.front().lr;
  const Sample *runs = find_sample(samples, "softmax", lr), *twins = find_sample(samples, "softmax", lr, "twin");
  if (!runs || !twins || runs->rows.size() != twins->rows.size()) return report;
  if (runs->diverged + twins->diverged > 0) {
    report.body = std::to_string(runs->diverged + twins->diverged) + " of " + std::to_string(2 * runs->rows.size()) +
                  " runs diverged.\n";
    return report;
  }
  if (runs->rows.size() < 2) return report;
  const Estimate seeds = estimate(values_of(*runs)), floor = estimate(paired_values(*runs, *twins));
  const size_t n = runs->rows.size();
  Finding finding;
  finding.setting =
      "softmax, `" + experiment.configuration.options.at("preset") + "`, " + data_and_seeds(*runs) + " and their twins";
  finding.result = "over seeds the final test loss has an sd of " + sd_text(seeds) +
                   " nats; a relative change of 1e-6 of the initial weights alone moves it by an sd of " +
                   sd_text(floor) + ", so that 8 paired seeds find a difference of " +
                   sd_text(floor, smallest_difference(1, 8)) + " nats with 80 % power, at best";
  finding.verdict = "measured";
  report.findings = {finding};

  std::string body = "| of the final test loss [nats] | sd (95 % interval) | mean |\n| --- | ---: | ---: |\n";
  body += "| over " + std::to_string(n) + " seeds | " + sd_text(seeds) + " | " + with_interval(seeds) + " |\n";
  body += "| run − twin | " + sd_text(floor) + " | " + signed_with_interval(floor) + " |\n\n";
  body +=
      "The second row is the floor of every paired comparison of this loss: what chance alone makes of a change "
      "without\n"
      "meaning. Other data, or contexts beyond T, have floors of their own. The smallest true difference that n seeds "
      "find with 80 % power at the 5 % level, with the interval that follows "
      "from\n"
      "that of the sd:\n\n";
  std::vector<std::vector<std::string>> rows;
  for (size_t count : kSeeds) {
    const double found = smallest_difference(1, count);  // in units of the sd of differences
    rows.push_back({std::to_string(count), sd_text(floor, found), sd_text(seeds, std::sqrt(2.0) * found)});
  }
  body +=
      markdown_table({"n", "paired, the noise being that of twins [nats]", "pairs that share nothing [nats]"}, rows);
  report.body = body;
  report.figures.push_back(
      {"noise", figure_script({losses_panel(*runs, *twins), divergence_panel(experiment, *runs, *twins)})});
  return report;
}
