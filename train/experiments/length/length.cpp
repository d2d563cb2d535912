// length: the loss at positions beyond the training length, and the mean loss at 1/2 to 16 times that length.
#include <cmath>
#include <iterator>

#include "train/comparison.h"
#include "train/experiments/report.h"

namespace {

constexpr double kFactors[] = {0.5, 1, 2, 4, 8, 16};  // of the training length

// Mean loss of a run over the first `length` positions: the pieces of the measurement that lie within them.
RunValue loss_at_length(const Experiment& experiment, const std::string& quantity, double length) {
  return [&experiment, quantity, length](const ResultRow& row) {
    std::vector<double> losses;
    for (const Measurement& m : experiment.records.measured(row.run, quantity))
      if (m.x <= length) losses.push_back(m.value);
    return estimate(losses).mean;
  };
}

struct Setting {
  std::string title, group, variant, quantity;
  std::string primary;  // the normalizer whose primary comparison, at the longest, it holds; "" for none
};

std::vector<const Sample*> of_variant(const std::vector<Sample>& samples, const std::string& variant) {
  std::vector<const Sample*> result;
  for (const Sample& sample : samples)
    if (sample.variant == variant) result.push_back(&sample);
  return result;
}

const Sample* of_normalizer(const std::vector<const Sample*>& samples, const std::string& normalizer) {
  for (const Sample* sample : samples)
    if (sample->normalizer == normalizer) return sample;
  return nullptr;
}

std::vector<std::string> length_header() {
  std::vector<std::string> header{"normalizer"};
  for (double factor : kFactors) header.push_back(fixed_text(factor, factor < 1 ? 1 : 0) + " T");
  return header;
}

std::string losses_table(const Experiment& experiment, const std::vector<const Sample*>& samples,
                         const std::string& quantity) {
  const double T = sequence_length(experiment.configuration);
  std::vector<std::vector<std::string>> rows;
  for (const Sample* sample : samples) {
    rows.push_back({"`" + sample->normalizer + "`"});
    for (double factor : kFactors)
      rows.back().push_back(
          sample->diverged > 0
              ? std::to_string(sample->diverged) + " diverged"
              : with_interval(estimate(values_of(*sample, loss_at_length(experiment, quantity, factor * T))), 3));
  }
  return markdown_table(length_header(), rows);
}

// Paired differences from the baseline; p at the longest.
std::string differences_table(const Experiment& experiment, const std::vector<const Sample*>& samples,
                              const Setting& setting) {
  const double T = sequence_length(experiment.configuration);
  const Sample* base = of_normalizer(samples, experiment.configuration.baseline);
  if (!base) return "";
  auto difference = [&](const Sample& sample, double factor) {
    return estimate(paired_values(sample, *base, loss_at_length(experiment, setting.quantity, factor * T)));
  };
  const double longest = kFactors[std::size(kFactors) - 1];
  std::vector<Estimate> at_longest;
  std::vector<bool> primaries;
  for (const Sample* sample : samples) {
    at_longest.push_back(sample == base ? Estimate() : difference(*sample, longest));
    primaries.push_back(sample->normalizer == setting.primary);
  }
  const std::vector<double> p = corrected_p(at_longest, primaries);
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < samples.size(); i++) {
    const Sample& sample = *samples[i];
    if (&sample == base) continue;
    rows.push_back({"`" + sample.normalizer + "`" + (primaries[i] ? " (primary, at the longest)" : "")});
    for (double factor : kFactors) rows.back().push_back(signed_with_interval(difference(sample, factor), 3));
    rows.back().push_back(p_text(p[i]));
  }
  std::vector<std::string> header = length_header();
  header.push_back("*p* at the longest");
  return markdown_table(header, rows);
}

Panel panel_of(const Experiment& experiment, const Setting& setting, const std::vector<const Sample*>& samples) {
  static const std::vector<std::string> order{"softmax", "ssmax", "sa_softmax", "ssmax_fixed", "ssmax_bias"};
  Panel panel = position_panel(experiment, setting.title);
  for (const Sample* sample : samples) {
    if (sample->diverged > 0) continue;
    const CurveOfMeans curve = mean_curve(experiment, *sample, setting.quantity);
    Series series;
    series.label = sample->normalizer;
    series.style = place_of(sample->normalizer, order);
    series.x = curve.x, series.y = curve.y;
    panel.series.push_back(series);
  }
  return panel;
}

}  // namespace

Report report_length(const Experiment& experiment) {
  const std::vector<Claim>& claims = experiment.configuration.claims;  // of SSMax, and of SA-Softmax
  const std::vector<Setting> settings{{"RoPE", "rope", "", "position", claims.at(1).primary},
                                      {"RoPE, theta × 50", "rope", "", "position-theta50", claims.at(0).primary},
                                      {"ALiBi", "other-positions", "alibi", "position", ""},
                                      {"no positions", "other-positions", "none", "position", ""}};
  Report report;
  report.findings.resize(claims.size());
  std::vector<Panel> panels;
  const double T = sequence_length(experiment.configuration);
  for (const Setting& setting : settings) {
    const std::vector<Sample> all = samples_of(experiment, setting.group);
    const std::vector<const Sample*> samples = of_variant(all, setting.variant);
    if (samples.empty()) continue;
    report.body += "## " + setting.title +
                   "\n\nMean test loss over the first positions of windows of 16 T, T = " + fixed_text(T, 0) +
                   " being the training length:\n\n" + losses_table(experiment, samples, setting.quantity) +
                   "\nMinus " + experiment.configuration.baseline + "'s:\n\n" +
                   differences_table(experiment, samples, setting) + "\n";
    panels.push_back(panel_of(experiment, setting, samples));
    // As in Figure 5 of the SSMax paper: theta times 50, the longest context; SA-Softmax without that.
    const Sample *base = of_normalizer(samples, experiment.configuration.baseline),
                 *primary = of_normalizer(samples, setting.primary);
    if (!base || !primary) continue;
    const Estimate difference =
        estimate(paired_values(*primary, *base, loss_at_length(experiment, setting.quantity, 16 * T)));
    if (difference.count == 0) continue;  // a run diverged
    report.findings[setting.primary == claims.at(0).primary ? 0 : 1] = {
        "`kjv`, trained at T = " + fixed_text(T, 0) + ", windows of 16 T, " + setting.title + ", " +
            std::to_string(difference.count) + " seeds",
        setting.primary + " − " + experiment.configuration.baseline + " = " + signed_with_interval(difference) +
            " nats of test loss",
        verdict_of(difference, true)};
  }
  if (!panels.empty()) report.figures.push_back({"length", figure_script(panels)});
  return report;
}
