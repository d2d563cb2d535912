// What an experiment found: results.md and figures beside its records, made from the rows alone, so that anyone can
// make them again without a single run (build/reproduce --report).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "train/experiments/experiment.h"
#include "train/experiments/figure.h"
#include "train/statistics.h"

// What is said of one claim, a row of the README's table; the verdict is one of the words below, or a short fact.
struct Finding {
  std::string setting, result, verdict;
};

struct Report {
  std::vector<Finding> findings;  // by claim; where one is missing or empty, its primary comparison cannot be made
  std::string body;               // tables and remarks, in markdown
  std::vector<std::pair<std::string, std::string>> figures;  // name without ending, script for gnuplot
};

inline constexpr const char* kReproduced = "reproduced";
inline constexpr const char* kNotReproduced = "not reproduced";
inline constexpr const char* kNotResolved = "not resolved at this scale";
inline constexpr const char* kNotJudged = "not judged";

// Of what is recorded; where runs are missing, write_report() calls the verdict unfinished.
using Analysis = std::function<Report(const Experiment&)>;

// The analysis of an experiment by its name; that of a plain comparison where it has none of its own.
Analysis analysis_of(const std::string& name);

Report report_noise(const Experiment& experiment);
Report report_figure1(const Experiment& experiment);
Report report_comparison(const Experiment& experiment);  // loss-curves, and whoever adds a comparison
Report report_length(const Experiment& experiment);
Report report_gradients(const Experiment& experiment);
Report report_needle(const Experiment& experiment);
Report report_switch(const Experiment& experiment);
Report report_learned_scale(const Experiment& experiment);

// results.md: title, question, claims, tables, rules, and the rows for the README. Replaced only as a whole.
// Returns what there is to say on the terminal.
std::string write_report(const Experiment& experiment);
std::string report_text(const Experiment& experiment, const Report& report);

// ---------------------------------------------------------------------------------------------- for analyses

// Runs that differ in nothing but their seed.
struct Sample {
  std::string group, normalizer, data, variant;
  double lr = 0;
  std::vector<const ResultRow*> rows;  // by seed, diverged ones too
  size_t diverged = 0;
};

// What is said of one run: its final test loss, or a figure made of its measurements.
using RunValue = std::function<double(const ResultRow&)>;
inline double final_test_loss(const ResultRow& row) { return row.test_loss; }

// By seed; nothing where a run diverged, whose count then stands for a mean.
std::vector<double> values_of(const Sample& sample, const RunValue& value = final_test_loss);
// a's minus b's by seed, over the seeds that both have; nothing where a run of either diverged.
std::vector<double> paired_values(const Sample& a, const Sample& b, const RunValue& value = final_test_loss);

// "1.0979 ± 0.0031", the mean over seeds, or "2 diverged".
std::string mean_text(const Sample& sample, const RunValue& value = final_test_loss, int decimals = 4);

// The samples of a group, in the order of the configuration.
std::vector<Sample> samples_of(const Experiment& experiment, const std::string& group);
// nullptr where there is none; without a rate, the first of that normalizer.
const Sample* find_sample(const std::vector<Sample>& samples, const std::string& normalizer,
                          std::optional<double> lr = std::nullopt, const std::string& variant = "");

// What it was trained on, and how often: "`kjv`, 5 seeds".
std::string data_and_seeds(const Sample& sample);

// A mean over runs of a measurement at each x it has, as points of a curve.
struct CurveOfMeans {
  std::vector<double> x;
  std::vector<Estimate> y;
};
CurveOfMeans mean_curve(const Experiment& experiment, const Sample& sample, const std::string& quantity);
CurveOfMeans difference_curve(const Experiment& experiment, const Sample& a, const Sample& b,
                              const std::string& quantity);

// A run's mean test loss over the positions in (from, to], of a measurement by position.
RunValue loss_at_positions(const Experiment& experiment, const std::string& quantity, double from, double to);

// Of test losses by position, the training length marked; without series.
Panel position_panel(const Experiment& experiment, const std::string& title);

std::string with_interval(const Estimate& estimate, int decimals = 4);         // "1.1684 ± 0.0021"
std::string signed_with_interval(const Estimate& estimate, int decimals = 4);  // "+0.0024 ± 0.0065"
bool is_resolved(const Estimate& difference);                                  // its interval leaves out 0
std::string p_text(double p);                                                  // "0.032", "< 0.001", "-" for NaN
// p of each difference of a table: of a primary comparison as it is, of the others after Holm's correction.
std::vector<double> corrected_p(const std::vector<Estimate>& differences, const std::vector<bool>& primary);
// Of a primary comparison whose claim is that the difference is below 0, or above it; kNotJudged where it has but one
// seed or is not finite.
std::string verdict_of(const Estimate& difference, bool claimed_below);

// A table in markdown; `rule` aligns all columns but the first.
std::string markdown_table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows,
                           const std::string& rule = "---:");
