#include "train/experiments/report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <set>

#include "data/atomic_file.h"
#include "train/comparison.h"
#include "train/console.h"
#include "train/gnuplot.h"

namespace fs = std::filesystem;

namespace {

// The rules of train/experiments/README.md, in the words that stand below every table.
constexpr const char* kRules =
    "Losses are nats per token on the split `test`. ± is half of a 95 % t interval over seeds. Differences are paired\n"
    "by seed: same initial weights, same batches. *p* is that of the paired t test, after Holm's correction except "
    "for\n"
    "primary comparisons, which no correction counts; *not resolved*: the interval holds 0, *among so many*: it does\n"
    "not, but *p* is above 0.05. A normalizer of which a run diverged has the count instead of a mean. The\n"
    "[rules](../README.md#rules-of-every-comparison) say what was fixed before the runs.\n";

std::string upper_first(std::string text) {
  if (!text.empty()) text[0] = char(std::toupper(static_cast<unsigned char>(text[0])));
  return text;
}

using LossesByRate = std::map<double, std::vector<double>>;  // infinite: diverged

// What the runs at a rate ended at, in bold where that is the rate chosen; "" where there are none.
std::string tuning_cell(const LossesByRate& losses, double rate, double chosen) {
  const auto found = losses.find(rate);
  if (found == losses.end()) return "";
  const double mean = estimate(found->second).mean;
  if (!std::isfinite(mean)) return rate == chosen ? "diverged (taken)" : "diverged";
  if (rate != chosen) return fixed_text(mean, 4);
  const bool is_at_end = found == losses.begin() || std::next(found) == losses.end();
  return "**" + fixed_text(mean, 4) + "**" + (is_at_end ? " (end)" : "");
}

// What the words in brackets of tuning_cell() mean.
std::string tuning_remarks(const std::string& table) {
  std::string text;
  if (table.find("(end)") != std::string::npos)
    text += "(end): the grid was extended as far as the rules allow; beyond it there may be a better rate. ";
  if (table.find("(taken)") != std::string::npos)
    text += "(taken): what diverges at every rate was taken on at the lowest. ";
  if (!text.empty()) text.replace(text.size() - 1, 1, "\n\n");
  return text;
}

// The final validation losses by rate, of which the lowest chose it.
std::string tuning_table(const Experiment& experiment) {
  const std::optional<TuneSpec>& tune = experiment.configuration.tune;
  if (!tune || experiment.plan.rates.empty()) return "";
  std::set<double> rates;
  std::map<std::string, LossesByRate> losses;  // by normalizer
  for (const RunPlan& run : experiment.plan.tuning)
    if (const ResultRow* row = experiment.records.find(run.name)) {
      rates.insert(run.lr);
      losses[run.normalizer][run.lr].push_back(row->diverged() ? HUGE_VAL : row->val_loss);
    }
  std::vector<std::string> header{"normalizer"};
  for (double rate : rates) header.push_back(number_text(rate));
  std::vector<std::vector<std::string>> rows;
  for (const std::string& normalizer : tune->normalizers) {
    const auto best = experiment.plan.rates.find(normalizer);
    if (best == experiment.plan.rates.end()) continue;
    rows.push_back({"`" + normalizer + "`"});
    for (double rate : rates) rows.back().push_back(tuning_cell(losses[normalizer], rate, best->second));
  }
  const std::string table = markdown_table(header, rows);
  return "## Rates\n\nFinal validation losses [nats] of the runs on `" + tune->data + "` that chose the rates, seed" +
         (tune->first_seed == tune->last_seed
              ? " " + std::to_string(tune->first_seed)
              : "s " + std::to_string(tune->first_seed) + " to " + std::to_string(tune->last_seed)) +
         ":\n\n" + table + "\n" + tuning_remarks(table);
}

// Whether the baseline alone chose a rate, with which the others were trained too.
bool has_the_baselines_rate(const Experiment& experiment) {
  const std::optional<TuneSpec>& tune = experiment.configuration.tune;
  const std::string& baseline = experiment.configuration.baseline;
  return tune && tune->normalizers == std::vector<std::string>{baseline} &&
         std::any_of(experiment.plan.runs.begin(), experiment.plan.runs.end(),
                     [&](const RunPlan& run) { return run.normalizer != baseline; });
}

// Of the names of files that hold what another scale than small has found.
std::string ending_of(const std::string& scale) { return scale == "small" ? "" : "-" + scale; }

// How to make it again.
std::string command_text(const Experiment& experiment) {
  const Configuration& configuration = experiment.configuration;
  std::string text = "    make reproduce EXPERIMENT=" + configuration.name +
                     (experiment.scale == "small" ? "" : " SCALE=" + experiment.scale) + "\n\n";
  if (configuration.options.empty()) return text;
  text += "Options of every run, unless its group in `experiment.json` has others: `";
  for (const std::string& word : with_options({"train"}, configuration.options))
    text += word == "train" ? word : " " + word;
  return text + "`.\n\n";
}

// Of the programs that trained a run: "4a9b464; then a883d63" where it was resumed by another.
std::set<std::string> commits_of(const ResultRow& row) {
  static const std::string kThen = "; then ";
  std::set<std::string> commits;
  for (size_t begin = 0; begin <= row.git.size();) {
    const size_t end = std::min(row.git.find(kThen, begin), row.git.size());
    commits.insert(row.git.substr(begin, end - begin));
    begin = end + kThen.size();
  }
  return commits;
}

}  // namespace

Analysis analysis_of(const std::string& name) {
  static const std::map<std::string, Analysis> own{{"noise", report_noise},    {"length", report_length},
                                                   {"switch", report_switch},  {"gradients", report_gradients},
                                                   {"needle", report_needle},  {"learned-scale", report_learned_scale},
                                                   {"figure1", report_figure1}};
  const auto found = own.find(name);
  return found == own.end() ? Analysis(report_comparison) : found->second;
}

std::string report_text(const Experiment& experiment, const Report& report) {
  const Configuration& configuration = experiment.configuration;
  std::string text =
      "<!-- Made by build/reproduce from the records beside it; changes by hand are overwritten. -->\n\n";
  text += "# " + upper_first(configuration.title) + "\n\n";
  text += "**" + configuration.question + "**\n\n" + command_text(experiment);
  for (size_t i = 0; i < configuration.claims.size(); i++)
    text += "- Claim: " + configuration.claims[i].text + " (" + configuration.claims[i].source + ").\n  **" +
            upper_first(report.findings[i].verdict) + "**: " + report.findings[i].result + ".\n";
  text += "\n";
  for (const auto& [name, script] : report.figures)
    text += "![" + configuration.title + (name == configuration.name ? "" : ", " + name) + "](" + name +
            ending_of(experiment.scale) + ".svg)\n\n";
  if (!configuration.remark.empty()) text += configuration.remark + "\n\n";
  text += report.body + "\n" + tuning_table(experiment);
  const std::vector<ResultRow>& runs = experiment.records.rows();
  if (!runs.empty()) {
    text += std::string(kRules) + "\n";
    double minutes = 0;
    std::set<std::string> gits;
    for (const ResultRow& row : runs) minutes += row.minutes, gits.merge(commits_of(row));
    char line[200];
    std::snprintf(line, sizeof line,
                  "%zu runs, those shared with other experiments included, %.0f minutes of training%s; commits",
                  runs.size(), minutes, experiment.scale == "small" ? " on one core each" : "");
    text += line;
    for (const std::string& git : gits) text += " " + git;
    text += ".\n\n";
  }
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < configuration.claims.size(); i++) {
    const Finding& finding = report.findings[i];
    rows.push_back({upper_first(configuration.claims[i].text), configuration.claims[i].source, finding.setting,
                    finding.result, finding.verdict});
  }
  return text + markdown_table({"claim", "source", "our setting", "result", "verdict"}, rows, "---");
}

std::string write_report(const Experiment& experiment) {
  if (experiment.records.rows().empty() && !experiment.configuration.groups.empty()) {
    return experiment.configuration.name + ": nothing is recorded yet\n";
  }
  Report report = analysis_of(experiment.configuration.name)(experiment);
  const size_t missing = experiment.missing().size() + experiment.plan.later.size();
  report.findings.resize(experiment.configuration.claims.size());
  for (Finding& finding : report.findings) {
    if (missing > 0)
      finding = {finding.setting,
                 std::to_string(missing) + (missing == 1 ? " run is" : " runs are") + " not recorded yet",
                 "unfinished"};
    if (finding.verdict.empty() || finding.verdict == kNotJudged)
      finding = {
          finding.setting,
          "the primary comparison cannot be made: a run of it diverged, it has but one seed, or a measurement is "
          "missing or not finite",
          kNotJudged};
    if (has_the_baselines_rate(experiment))
      finding.setting +=
          (finding.setting.empty() ? "all at " : ", all at ") + experiment.configuration.baseline + "'s rate";
  }
  std::string summary;
  std::erase_if(report.figures, [](const auto& figure) { return figure.second.empty(); });
  const std::string end = ending_of(experiment.scale);
  const fs::path folder = experiment.configuration.folder;
  for (const auto& [name, script] : report.figures) {
    const std::string path = (folder / (name + end + ".svg")).string();
    const std::optional<std::string> picture = run_gnuplot(script);
    if (picture)
      write_file_atomically(path, *picture);
    else
      summary += "gnuplot is not installed: '" + path + "' is not drawn\n";
  }
  const std::string path = (folder / ("results" + end + ".md")).string();
  write_file_atomically(path, report_text(experiment, report));
  for (const Finding& finding : report.findings)
    summary += experiment.configuration.name + ": " + finding.verdict + ". " + finding.result + "\n";
  return summary + "  wrote " + path + "\n";
}

// ---------------------------------------------------------------------------------------------- for analyses

std::vector<Sample> samples_of(const Experiment& experiment, const std::string& group) {
  std::vector<Sample> result;
  const auto members = experiment.plan.members.find(group);
  if (members == experiment.plan.members.end()) return result;
  for (const RunPlan& run : experiment.plan.runs) {
    if (std::find(members->second.begin(), members->second.end(), run.name) == members->second.end()) continue;
    const ResultRow* row = experiment.records.find(run.name);
    if (!row) continue;
    auto same = [&](const Sample& sample) {
      return sample.normalizer == run.normalizer && sample.lr == run.lr && sample.variant == run.variant &&
             sample.data == run.data;
    };
    auto found = std::find_if(result.begin(), result.end(), same);
    if (found == result.end())
      found = result.insert(result.end(), {group, run.normalizer, run.data, run.variant, run.lr, {}, 0});
    found->rows.push_back(row);
    found->diverged += row->diverged();
  }
  return result;
}

std::string data_and_seeds(const Sample& sample) {
  return "`" + sample.data + "`, " + std::to_string(sample.rows.size()) + " seeds";
}

const Sample* find_sample(const std::vector<Sample>& samples, const std::string& normalizer, std::optional<double> lr,
                          const std::string& variant) {
  for (const Sample& sample : samples)
    if (sample.normalizer == normalizer && (!lr || sample.lr == *lr) && sample.variant == variant) return &sample;
  return nullptr;
}

namespace {

// Rows of the two by common seed.
std::vector<std::pair<const ResultRow*, const ResultRow*>> pairs(const Sample& a, const Sample& b) {
  std::vector<std::pair<const ResultRow*, const ResultRow*>> result;
  for (const ResultRow* row : a.rows)
    for (const ResultRow* other : b.rows)
      if (row->seed == other->seed) result.push_back({row, other});
  return result;
}

// The estimate at each x of what `values` says of each run.
CurveOfMeans curve_of(const std::vector<std::map<double, double>>& runs) {
  CurveOfMeans curve;
  if (runs.empty()) return curve;
  for (const auto& [x, ignored] : runs.front()) {
    std::vector<double> values;
    for (const std::map<double, double>& run : runs)
      if (const auto found = run.find(x); found != run.end() && std::isfinite(found->second))
        values.push_back(found->second);
    if (values.size() < runs.size()) continue;
    curve.x.push_back(x);
    curve.y.push_back(estimate(values));
  }
  return curve;
}

std::map<double, double> values_by_x(const Experiment& experiment, const std::string& run,
                                     const std::string& quantity) {
  std::map<double, double> values;
  for (const Measurement& m : experiment.records.measured(run, quantity)) values[m.x] = m.value;
  return values;
}

}  // namespace

std::vector<double> values_of(const Sample& sample, const RunValue& value) {
  std::vector<double> result;
  if (sample.diverged > 0) return result;
  for (const ResultRow* row : sample.rows) result.push_back(value(*row));
  return result;
}

std::vector<double> paired_values(const Sample& a, const Sample& b, const RunValue& value) {
  std::vector<double> result;
  if (a.diverged + b.diverged > 0) return result;
  for (const auto& [row, other] : pairs(a, b)) result.push_back(value(*row) - value(*other));
  return result;
}

std::string mean_text(const Sample& sample, const RunValue& value, int decimals) {
  return sample.diverged > 0 ? std::to_string(sample.diverged) + " diverged"
                             : with_interval(estimate(values_of(sample, value)), decimals);
}

CurveOfMeans mean_curve(const Experiment& experiment, const Sample& sample, const std::string& quantity) {
  std::vector<std::map<double, double>> runs;
  for (const ResultRow* row : sample.rows) runs.push_back(values_by_x(experiment, row->run, quantity));
  return curve_of(runs);
}

CurveOfMeans difference_curve(const Experiment& experiment, const Sample& a, const Sample& b,
                              const std::string& quantity) {
  std::vector<std::map<double, double>> runs;
  for (const auto& [row, other] : pairs(a, b)) {
    std::map<double, double> values = values_by_x(experiment, row->run, quantity);
    const std::map<double, double> theirs = values_by_x(experiment, other->run, quantity);
    for (auto& [x, value] : values) {
      const auto found = theirs.find(x);
      value = found == theirs.end() ? kMissing : value - found->second;
    }
    runs.push_back(std::move(values));
  }
  return curve_of(runs);
}

RunValue loss_at_positions(const Experiment& experiment, const std::string& quantity, double from, double to) {
  return [&experiment, quantity, from, to](const ResultRow& row) {
    std::vector<double> losses;
    for (const Measurement& m : experiment.records.measured(row.run, quantity))
      if (m.x > from && m.x <= to) losses.push_back(m.value);
    return estimate(losses).mean;
  };
}

Panel position_panel(const Experiment& experiment, const std::string& title) {
  Panel panel;
  panel.x_label = "position (context size, tokens)";
  panel.y_label = "test loss (nats per token)";
  panel.legend_title = title;
  panel.log_x = true;
  panel.x_mark = sequence_length(experiment.configuration);
  panel.x_mark_label = "training length";
  return panel;
}

std::string with_interval(const Estimate& estimate, int decimals) {
  return fixed_text(estimate.mean, decimals) +
         (estimate.has_interval() ? " ± " + fixed_text(estimate.half_width, decimals) : "");
}

std::string signed_with_interval(const Estimate& estimate, int decimals) {
  return signed_text(estimate.mean, decimals) +
         (estimate.has_interval() ? " ± " + fixed_text(estimate.half_width, decimals) : "");
}

bool is_resolved(const Estimate& difference) {
  return difference.has_interval() && std::abs(difference.mean) > difference.half_width;
}

std::string p_text(double p) { return std::isnan(p) ? "-" : p < 0.001 ? "< 0.001" : fixed_text(p, 3); }

std::vector<double> corrected_p(const std::vector<Estimate>& differences, const std::vector<bool>& primary) {
  std::vector<double> p;
  for (size_t i = 0; i < differences.size(); i++) p.push_back(primary[i] ? kMissing : p_value(differences[i]));
  p = holm(p);
  for (size_t i = 0; i < differences.size(); i++)
    if (primary[i]) p[i] = p_value(differences[i]);
  return p;
}

std::string verdict_of(const Estimate& difference, bool claimed_below) {
  if (!difference.has_interval() || !std::isfinite(difference.mean)) return kNotJudged;
  if (!is_resolved(difference)) return kNotResolved;
  return (difference.mean < 0) == claimed_below ? kReproduced : kNotReproduced;
}

std::string markdown_table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows,
                           const std::string& rule) {
  auto line = [](const std::vector<std::string>& cells) {
    std::string text = "|";
    for (const std::string& cell : cells) text += " " + cell + " |";
    return text + "\n";
  };
  std::string text = line(header) + "|";
  for (size_t i = 0; i < header.size(); i++) text += " " + (i == 0 ? "---" : rule) + " |";
  text += "\n";
  for (const std::vector<std::string>& row : rows) text += line(row);
  return text;
}
