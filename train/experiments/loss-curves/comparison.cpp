// A comparison of normalizers by their final test loss, and the curves that lead there: loss-curves, and every experiment
// without an analysis of its own. Two tables for each group: at the baseline's tuned rate, and where that differs at each
// normalizer's own.
#include <algorithm>
#include <cmath>
#include <optional>
#include <tuple>

#include "model/parameters.h"
#include "train/command_line.h"
#include "train/comparison.h"
#include "train/console.h"
#include "train/experiments/figure.h"
#include "train/experiments/report.h"

namespace {

constexpr size_t kMostBands = 7;   // with more of them in a panel, bands would only be clouds
constexpr size_t kMostStyles = 8;  // of lines without points, easily told apart

struct Compared {
  const Sample* sample;
  Estimate difference;  // from the baseline, by test loss; no values where a run diverged
};

// What a rate of a group, "shared", "tuned" or a number, is for a normalizer; nothing while it is open.
std::optional<double> rate_for(const Experiment& experiment, const std::string& rate, const std::string& normalizer) {
  double number = 0;
  if (read_value(rate, number)) return number;
  const auto found = experiment.plan.rates.find(rate == "shared" ? experiment.configuration.baseline : normalizer);
  return found == experiment.plan.rates.end() ? std::nullopt : std::optional(found->second);
}

// Every normalizer of a group at a rate, the baseline first, in variants of its own.
std::vector<Compared> compare_samples(const Experiment& experiment, const GroupSpec& group,
                                      const std::vector<Sample>& samples, const std::string& rate) {
  std::vector<std::string> names = group.normalizers;
  const auto baseline = std::find(names.begin(), names.end(), experiment.configuration.baseline);
  if (baseline != names.end()) std::rotate(names.begin(), baseline, baseline + 1);
  std::vector<Compared> result;
  for (const auto& [variant, ignored] : group.variants) {
    const Sample* base = nullptr;
    for (const std::string& name : names) {
      const std::optional<double> lr = rate_for(experiment, rate, name);
      const Sample* sample = lr ? find_sample(samples, name, *lr * group.rate_factor, variant) : nullptr;
      if (!sample) continue;
      if (name == experiment.configuration.baseline) base = sample;
      result.push_back({sample, base && sample != base ? estimate(paired_values(*sample, *base)) : Estimate()});
    }
  }
  return result;
}

// Where the mean validation curve crosses a loss for the last time, in tokens; NaN where it ends above.
double tokens_to_reach(const CurveOfMeans& curve, double loss, double tokens_per_update) {
  double result = kMissing;
  for (size_t i = 0; i + 1 < curve.x.size(); i++) {
    const double a = curve.y[i].mean, b = curve.y[i + 1].mean;
    if (a <= loss && b > loss) result = kMissing;
    if (a > loss && b <= loss)
      result = (curve.x[i] + (a - loss) / (a - b) * (curve.x[i + 1] - curve.x[i])) * tokens_per_update;
  }
  return result;
}

double tokens_per_update(const Sample& sample) {
  for (const ResultRow* row : sample.rows)
    if (row->steps > 0) return double(row->tokens) / double(row->steps);
  return 0;
}

// `holds_primaries`: whether the primary comparisons are in this table.
std::string table_of(const Experiment& experiment, const std::vector<Compared>& compared, bool holds_primaries) {
  auto primary_in_this = [&](const Sample& sample) {
    return holds_primaries && is_primary(experiment.configuration, sample.normalizer);
  };
  std::vector<Estimate> differences;
  std::vector<bool> primaries;
  for (const Compared& each : compared) {
    differences.push_back(each.difference);
    primaries.push_back(primary_in_this(*each.sample));
  }
  const std::vector<double> p = corrected_p(differences, primaries);
  CurveOfMeans base_curve;  // of the row's variant; empty where the baseline diverged
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < compared.size(); i++) {
    const Sample& sample = *compared[i].sample;
    const Estimate& difference = compared[i].difference;
    const bool is_base = sample.normalizer == experiment.configuration.baseline;
    const CurveOfMeans curve = mean_curve(experiment, sample, "val_loss");
    if (i == 0 || compared[i - 1].sample->variant != sample.variant) base_curve = CurveOfMeans();
    if (is_base && sample.diverged == 0) base_curve = curve;
    const double reached = base_curve.y.empty() || sample.diverged > 0
                               ? kMissing
                               : tokens_to_reach(curve, base_curve.y.back().mean, tokens_per_update(sample));
    std::string verdict = "-";
    if (difference.has_interval())
      verdict = !is_resolved(difference)          ? "not resolved"
                : std::isnan(p[i]) || p[i] < 0.05 ? (difference.mean < 0 ? "lower" : "higher")
                                                  : "not resolved among so many";
    rows.push_back({"`" + sample.normalizer + "`" + (sample.variant.empty() ? "" : ", " + sample.variant) +
                        (primaries[i] ? " (primary)" : ""),
                    number_text(sample.lr), std::to_string(sample.rows.size()), mean_text(sample),
                    is_base ? "-" : signed_with_interval(difference), p_text(p[i]), verdict,
                    std::isnan(reached) ? "-" : fixed_text(reached / 1e6, 2)});
  }
  return markdown_table(
      {"normalizer", "rate", "seeds", "test loss [nats]",
       "difference from " + experiment.configuration.baseline + " [nats]", "*p*", "the difference is",
       "million tokens to the validation loss that " + experiment.configuration.baseline + " ends at"},
      rows);
}

// The normalizers from the lowest mean loss on, each with its paired difference from the one before; those that diverged
// left out; for groups without variants.
std::string order_of(const GroupSpec& group, const std::vector<Compared>& compared) {
  std::vector<std::pair<double, const Sample*>> means;
  for (const Compared& each : compared)
    if (each.sample->diverged == 0) means.push_back({estimate(values_of(*each.sample)).mean, each.sample});
  if (group.variants.size() > 1 || means.size() < 3) return "";
  std::sort(means.begin(), means.end());
  std::string text = "From the lowest mean, with the paired difference from the one before (not corrected): ";
  for (size_t i = 0; i < means.size(); i++) {
    const Sample& sample = *means[i].second;
    text += (i ? ", `" : "`") + sample.normalizer + "`";
    if (i > 0) text += " (" + signed_with_interval(estimate(paired_values(sample, *means[i - 1].second))) + ")";
  }
  return text + ".\n\n";
}

// The same normalizer is drawn in the same style in every figure: by its place in the configuration; where there are more
// than can be told apart, in the group.
size_t style_of(const Experiment& experiment, const GroupSpec& group, const std::string& normalizer) {
  auto place_in = [&](const std::vector<GroupSpec>& groups) {
    std::vector<std::string> names{experiment.configuration.baseline};
    for (const GroupSpec& each : groups)
      for (const std::string& name : each.normalizers)
        if (place_of(name, names) == names.size()) names.push_back(name);
    return std::pair(place_of(normalizer, names), names.size());
  };
  const auto [place, count] = place_in(experiment.configuration.groups);
  return count <= kMostStyles ? place : place_in({group}).first;
}

std::string figure_of(const Experiment& experiment, const GroupSpec& group, const std::vector<Compared>& compared) {
  const Sample* base = nullptr;
  Panel losses, differences;
  losses.x_label = "", losses.y_label = "validation loss (nats per token)";
  differences.x_label = "update";
  differences.y_label = "minus " + experiment.configuration.baseline + "'s (nats per token)";
  differences.zero_line = true;
  losses.legend_title = compared.size() <= kMostBands ? "mean and 95 % interval over seeds" : "mean over seeds";
  differences.legend_title = "paired by seed";
  for (const Compared& each : compared) {
    if (each.sample->diverged > 0) continue;
    if (each.sample->normalizer == experiment.configuration.baseline) base = each.sample;
    Series series;
    series.label = each.sample->normalizer;
    series.style = style_of(experiment, group, each.sample->normalizer);
    series.band = compared.size() <= kMostBands;
    series.points = compared.size() > kMostStyles;
    const CurveOfMeans curve = mean_curve(experiment, *each.sample, "val_loss");
    series.x = curve.x, series.y = curve.y;
    losses.series.push_back(series);
    if (!base || each.sample == base) continue;
    const CurveOfMeans difference = difference_curve(experiment, *each.sample, *base, "val_loss");
    series.x = difference.x, series.y = difference.y;
    differences.series.push_back(series);
  }
  if (!losses.series.empty() && !losses.series.front().x.empty()) {
    const double last = losses.series.front().x.back();
    losses.y_from_x = last / 10;
    differences.y_from_x = last / 4;
  }
  return figure_script({losses, differences});
}

// The final losses, and differences from the baseline, from variant to variant: by depth, say.
std::string figure_by_variant(const Experiment& experiment, const GroupSpec& group,
                              const std::vector<Compared>& compared) {
  Panel losses, differences;
  losses.y_label = "test loss (nats per token)";
  losses.legend_title = "mean and 95 % interval over seeds";
  differences.y_label = "minus " + experiment.configuration.baseline + "'s (nats per token)";
  differences.legend_title = "paired by seed";
  differences.zero_line = true;
  for (const auto& [variant, ignored] : group.variants) losses.x_names.push_back(variant);
  differences.x_names = losses.x_names;
  for (const std::string& name : group.normalizers) {
    Series series;
    series.label = name;
    series.style = style_of(experiment, group, name);
    series.line = false;
    series.points = true;
    Series minus_baseline = series;
    const double beside = double(place_of(name, group.normalizers)) - double(group.normalizers.size() - 1) / 2;
    for (const Compared& each : compared) {
      if (each.sample->normalizer != name || each.sample->diverged > 0) continue;
      const double x = double(place_of(each.sample->variant, losses.x_names)) + 0.1 * beside;
      series.x.push_back(x);
      series.y.push_back(estimate(values_of(*each.sample)));
      if (each.difference.count == 0) continue;
      minus_baseline.x.push_back(x);
      minus_baseline.y.push_back(each.difference);
    }
    losses.series.push_back(series);
    differences.series.push_back(minus_baseline);
  }
  return figure_script({losses, differences});
}

// The learned scalars at the end: the mean over seeds, by layer and head.
std::string scales_table(const Experiment& experiment, const Sample& sample) {
  const int T = sequence_length(experiment.configuration);
  std::string text;
  for (const auto& [quantity, name, start] :
       {std::tuple("scale", "s", initial_scale(T, false)), std::tuple("scale.bias", "b", 0.0)}) {
    std::map<double, std::map<double, std::vector<double>>> layers;  // by layer, head: one value a seed
    for (const ResultRow* row : sample.rows)
      for (const Measurement& m : experiment.records.measured(row->run, quantity))
        if (std::isfinite(m.value)) layers[m.x][m.y].push_back(m.value);
    if (layers.empty()) continue;
    std::vector<std::string> header{"layer"};
    for (const auto& [head, values] : layers.begin()->second) header.push_back("head " + fixed_text(head, 0));
    std::vector<std::vector<std::string>> rows;
    for (const auto& [layer, heads] : layers) {
      rows.push_back({fixed_text(layer, 0)});
      for (const auto& [head, values] : heads) rows.back().push_back(with_interval(estimate(values), 3));
    }
    text += "The " + std::string(name) + " that `" + sample.normalizer +
            "` has learned, mean over seeds; it starts at " + fixed_text(start, 3) + ":\n\n" +
            markdown_table(header, rows) + "\n";
  }
  return text;
}

std::string rate_words(const Experiment& experiment, const std::string& rate) {
  const std::string tuned = experiment.configuration.tune ? " on `" + experiment.configuration.tune->data + "`" : "";
  if (rate == "shared")
    return "Every normalizer at the rate that is best for " + experiment.configuration.baseline + tuned;
  if (rate == "tuned") return "Each at the rate that is best for itself" + tuned;
  return "At the rate " + rate;
}

std::string setting_of(const Compared& compared) {
  const std::vector<const ResultRow*>& rows = compared.sample->rows;
  return data_and_seeds(*compared.sample) + ", " + std::to_string(rows.front()->steps) + " updates";
}

// One that names no primary comparison is told the baseline's loss.
Finding finding_of(const Configuration& configuration, const Claim& claim, const std::vector<Compared>& judged) {
  const std::string unit = " nats of final test loss";
  for (const Compared& each : judged) {
    const Sample& sample = *each.sample;
    if (claim.primary.empty() && sample.normalizer == configuration.baseline && sample.diverged == 0)
      return {setting_of(each), sample.normalizer + ": " + with_interval(estimate(values_of(sample))) + unit,
              "measured"};
    if (sample.normalizer == claim.primary && each.difference.has_interval())
      return {setting_of(each),
              claim.primary + " − " + configuration.baseline + " = " + signed_with_interval(each.difference) + unit,
              verdict_of(each.difference, true)};
  }
  return {};
}

}  // namespace

Report report_comparison(const Experiment& experiment) {
  const Configuration& configuration = experiment.configuration;
  Report report;
  for (const GroupSpec& group : configuration.groups) {
    const std::vector<Sample> samples = samples_of(experiment, group.name);
    report.body += "## " + group.name + "\n\n";
    std::vector<Compared> judged;  // at the last rate named: each at its own where there are such runs
    for (const std::string& rate : group.rates) {
      const std::vector<Compared> compared = compare_samples(experiment, group, samples, rate);
      const bool holds_primaries = &group == &configuration.groups.front() && rate == group.rates.back();
      report.body += rate_words(experiment, rate) + ":\n\n" + table_of(experiment, compared, holds_primaries) + "\n" +
                     order_of(group, compared);
      if (compared.size() >= judged.size()) judged = compared;
    }
    for (const Compared& each : judged) report.body += scales_table(experiment, *each.sample);
    report.figures.push_back({group.name, group.variants.size() > 1 ? figure_by_variant(experiment, group, judged)
                                                                    : figure_of(experiment, group, judged)});
    if (&group == &configuration.groups.front())
      for (const Claim& claim : configuration.claims)
        report.findings.push_back(finding_of(configuration, claim, judged));
  }
  return report;
}
