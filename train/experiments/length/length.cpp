// length: the loss at positions beyond the training length, and the mean loss at 1/2 to 16 times that length.
#include <cmath>
#include <iterator>

#include "train/comparison.h"
#include "train/experiments/report.h"

namespace {

constexpr double kFactors[] = {0.5, 1, 2, 4, 8, 16};  // of the training length

// What the columns say: means over the first positions, and over the last T of the window.
struct Span {
  std::string name;
  double from, to;  // positions
};
std::vector<Span> spans_of(const Experiment& experiment) {
  const double T = sequence_length(experiment.configuration), longest = kFactors[std::size(kFactors) - 1];
  std::vector<Span> spans;
  for (double factor : kFactors) spans.push_back({fixed_text(factor, factor < 1 ? 1 : 0) + " T", 0, factor * T});
  spans.push_back({"the last T", (longest - 1) * T, longest * T});
  return spans;
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

std::vector<std::string> header_of(const std::vector<Span>& spans) {
  std::vector<std::string> header{"normalizer"};
  for (const Span& span : spans) header.push_back(span.name);
  return header;
}

std::string losses_table(const Experiment& experiment, const std::vector<const Sample*>& samples,
                         const std::string& quantity) {
  const std::vector<Span> spans = spans_of(experiment);
  std::vector<std::vector<std::string>> rows;
  for (const Sample* sample : samples) {
    rows.push_back({"`" + sample->normalizer + "`"});
    for (const Span& span : spans)
      rows.back().push_back(mean_text(*sample, loss_at_positions(experiment, quantity, span.from, span.to), 3));
  }
  return markdown_table(header_of(spans), rows);
}

// Over the first positions of the longest windows: what is judged.
Estimate difference_at_longest(const Experiment& experiment, const Sample& sample, const Sample& base,
                               const std::string& quantity) {
  const double longest = kFactors[std::size(kFactors) - 1] * sequence_length(experiment.configuration);
  return estimate(paired_values(sample, base, loss_at_positions(experiment, quantity, 0, longest)));
}

// Paired differences from the baseline; p at the longest.
std::string differences_table(const Experiment& experiment, const std::vector<const Sample*>& samples,
                              const Setting& setting) {
  const Sample* base = of_normalizer(samples, experiment.configuration.baseline);
  if (!base) return "";
  std::vector<Estimate> at_longest;
  std::vector<bool> primaries;
  for (const Sample* sample : samples) {
    at_longest.push_back(sample == base ? Estimate()
                                        : difference_at_longest(experiment, *sample, *base, setting.quantity));
    primaries.push_back(sample->normalizer == setting.primary);
  }
  const std::vector<double> p = corrected_p(at_longest, primaries);
  const std::vector<Span> spans = spans_of(experiment);
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < samples.size(); i++) {
    const Sample& sample = *samples[i];
    if (&sample == base) continue;
    rows.push_back({"`" + sample.normalizer + "`" + (primaries[i] ? " (primary, over 16 T)" : "")});
    for (const Span& span : spans)
      rows.back().push_back(signed_with_interval(
          estimate(paired_values(sample, *base, loss_at_positions(experiment, setting.quantity, span.from, span.to))),
          3));
    rows.back().push_back(p_text(p[i]));
  }
  std::vector<std::string> header = header_of(spans);
  header.push_back("*p* over 16 T");
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
                   "\n\nMean test loss over the first positions of windows of 16 T, and over the last T of them; T = " +
                   fixed_text(T, 0) + " is\nthe training length:\n\n" +
                   losses_table(experiment, samples, setting.quantity) + "\nMinus " +
                   experiment.configuration.baseline + "'s:\n\n" + differences_table(experiment, samples, setting) +
                   "\n";
    panels.push_back(panel_of(experiment, setting, samples));
    // As in Figure 5 of the SSMax paper: theta times 50, the longest context; SA-Softmax without that.
    const Sample *base = of_normalizer(samples, experiment.configuration.baseline),
                 *primary = of_normalizer(samples, setting.primary);
    if (!base || !primary) continue;
    const Estimate difference = difference_at_longest(experiment, *primary, *base, setting.quantity);
    if (difference.count == 0) continue;  // a run diverged
    report.findings[setting.primary == claims.at(0).primary ? 0 : 1] = {
        data_and_seeds(*base) + ", trained at T = " + fixed_text(T, 0) + ", " + setting.title,
        setting.primary + " − " + experiment.configuration.baseline + " = " + signed_with_interval(difference) +
            " nats of test loss, mean over the first 16 T positions",
        verdict_of(difference, true)};
  }
  if (!panels.empty()) report.figures.push_back({"length", figure_script(panels)});
  return report;
}
