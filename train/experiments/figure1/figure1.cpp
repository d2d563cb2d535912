#include "train/experiments/figure1/figure1.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include "kernels/reference/normalizer.h"
#include "train/comparison.h"
#include "train/console.h"
#include "train/experiments/report.h"
#include "train/gnuplot.h"

namespace {

constexpr double kS = 0.43;               // of Figure 1
constexpr double kScales[] = {0, kS, 1};  // 0: softmax
constexpr size_t kSizes[] = {10, 100, 1000, 10000};

// The weight of the last of the scores.
double last_weight(const std::vector<double>& scores, double s) {
  std::vector<double> weights(scores.size());
  if (s == 0)
    reference::normalize<Softmax>(weights.data(), scores.data(), &s, scores.size());
  else
    reference::normalize<SSMax>(weights.data(), scores.data(), &s, scores.size());
  return weights.back();
}

std::string name_of(double s) { return s == 0 ? "softmax" : "SSMax, s = " + gnuplot_number(s); }

}  // namespace

std::vector<WeightRow> figure1_rows() {
  std::vector<WeightRow> rows;
  for (double s : {0.0, kS})
    for (int eighth = 8; eighth <= 40; eighth++) {
      std::vector<double> scores(size_t(std::llround(std::pow(10, eighth / 8.0))), -2);
      scores.back() = 3;
      rows.push_back({s, scores.size(), scores.back(), last_weight(scores, s)});
    }
  return rows;
}

std::vector<WeightRow> figure3_rows() {
  std::vector<WeightRow> rows;
  for (double s : kScales)
    for (size_t n : kSizes) {
      std::vector<double> scores(n);
      for (size_t i = 0; i + 1 < n; i++) scores[i] = double(i) / double(n - 2);
      for (int tenth = 0; tenth <= 120; tenth++) {
        scores.back() = tenth / 10.0;
        rows.push_back({s, n, scores.back(), last_weight(scores, s)});
      }
    }
  return rows;
}

double half_weight_score(const std::vector<WeightRow>& rows, double s, size_t n) {
  const WeightRow* before = nullptr;
  for (const WeightRow& row : rows) {
    if (row.s != s || row.n != n) continue;
    if (before && before->weight < 0.5 && row.weight >= 0.5)
      return before->z_max + (row.z_max - before->z_max) * (0.5 - before->weight) / (row.weight - before->weight);
    before = &row;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

// ---------------------------------------------------------------------------------------------- the picture

namespace {

constexpr int kLeft = 95, kRight = 735, kTop = 40, kHeight = 310, kGap = 115, kBelow = 65, kLegendWidth = 210;

// The rows of one curve as a block, x and weight.
template <class X>
std::string curve_block(const std::string& name, const std::vector<WeightRow>& rows, double s, size_t n, X x_of) {
  std::string text;
  for (const WeightRow& row : rows)
    if (row.s == s && (n == 0 || row.n == n))
      text += gnuplot_number(x_of(row)) + " " + gnuplot_number(row.weight) + "\n";
  return data_block(name, text);
}

std::string curve_name(size_t scale, size_t size) { return "s" + std::to_string(scale) + "n" + std::to_string(size); }

std::string figure1_plot() {
  std::vector<std::string> elements;
  for (size_t i = 0; i < 2; i++)
    elements.push_back("$figure1s" + std::to_string(i) + " using 1:2 with linespoints lw 1.8 ps 0.6 pt " +
                       std::to_string(line_style(i).point) + line_colour(line_style(i)) + " title " +
                       gnuplot_text(name_of(kScales[i])));
  return plot_command(elements);
}

// A colour for each function, dashes for each n.
std::string figure3_plot() {
  std::vector<std::string> elements;
  for (size_t i = 0; i < std::size(kScales); i++)
    for (size_t k = 0; k < std::size(kSizes); k++)
      elements.push_back("$" + curve_name(i, k) + " using 1:2 with lines lw 1.8 dt " + line_style(k).dash +
                         line_colour(line_style(i)) + " notitle");
  for (size_t i = 0; i < std::size(kScales); i++)
    elements.push_back("keyentry with lines lw 1.8" + line_colour(line_style(i)) + " title " +
                       gnuplot_text(name_of(kScales[i])));
  for (size_t k = 0; k < std::size(kSizes); k++)
    elements.push_back("keyentry with lines lw 1.8 lc rgb '#666666' dt " + line_style(k).dash + " title " +
                       gnuplot_text("n = " + with_commas(kSizes[k])));
  return plot_command(elements);
}

}  // namespace

std::string figure1_script() {
  const std::vector<WeightRow> one = figure1_rows(), three = figure3_rows();
  const int second = kTop + kHeight + kGap;
  const Picture picture{kRight + kLegendWidth, second + kHeight + kBelow};
  std::string script = picture.begin(terminal_for(".svg"));
  for (size_t i = 0; i < 2; i++)
    script += curve_block("figure1s" + std::to_string(i), one, kScales[i], 0,
                          [](const WeightRow& row) { return double(row.n); });
  for (size_t i = 0; i < std::size(kScales); i++)
    for (size_t k = 0; k < std::size(kSizes); k++)
      script +=
          curve_block(curve_name(i, k), three, kScales[i], kSizes[k], [](const WeightRow& row) { return row.z_max; });
  auto place = [&](int top) {
    return picture.panel(kLeft, top, kRight, top + kHeight) + picture.legend(kRight + 15, top);
  };
  script += "set multiplot\nset yrange [0:1.02]\n" + place(kTop) +
            "set title 'Figure 1: one score of +3 among n − 1 of −2'\n"
            "set ylabel 'weight of the largest score' offset 0.5,0\nset xlabel 'n, scores in the row' offset 0,0.3\n"
            "set logscale x\nset xrange [9.9:101000]\n"
            "set xtics ('10' 10, '100' 100, '1,000' 1000, '10,000' 10000, '100,000' 100000)\n" +
            figure1_plot() + place(second) +
            "set title 'Figure 3: z_max above n − 1 scores spread evenly from 0 to 1'\n"
            "set xlabel 'z_max, the largest score' offset 0,0.3\nunset logscale x\nset xrange [0:12]\n"
            "set xtics autofreq\n" +
            figure3_plot() + "unset multiplot\n";
  return script;
}

// ---------------------------------------------------------------------------------------------- the report

Report report_figure1(const Experiment&) {
  const std::vector<WeightRow> one = figure1_rows(), three = figure3_rows();
  auto weight_at = [&](double s, size_t n) {
    const auto found =
        std::find_if(one.begin(), one.end(), [&](const WeightRow& row) { return row.s == s && row.n == n; });
    return found->weight;
  };
  std::vector<std::vector<std::string>> weights, scores;
  for (size_t n : {10, 100, 1000, 10000, 100000})
    weights.push_back({with_commas(n), fixed_text(weight_at(0, n), 4), fixed_text(weight_at(kS, n), 4)});
  for (size_t n : kSizes) {
    std::vector<std::string> row{with_commas(n)};
    for (double s : kScales) row.push_back(fixed_text(half_weight_score(three, s, n), 2));
    scores.push_back(row);
  }
  // How far the score that takes half of the weight moves from the shortest row to the longest.
  auto drift = [&](double s) {
    return half_weight_score(three, s, std::end(kSizes)[-1]) - half_weight_score(three, s, kSizes[0]);
  };
  const bool fades = weight_at(0, 100000) < 0.01 && weight_at(kS, 100000) > 0.99;
  const bool stays = std::max(std::abs(drift(kS)), std::abs(drift(1))) < drift(0) / 10;

  auto above = [&](double s) {
    return fixed_text(half_weight_score(three, s, kSizes[0]) - 1, 2) + " and " +
           fixed_text(half_weight_score(three, s, std::end(kSizes)[-1]) - 1, 2);
  };

  Report report;
  Finding finding;
  finding.setting = "Figure 1's scores and s = 0.43; Figure 3's scores, s = 0.43 and 1; nothing is trained";
  finding.result = "from n = 10 to 100,000 the weight of one large score goes from " + fixed_text(weight_at(0, 10), 3) +
                   " to " + fixed_text(weight_at(0, 100000), 4) + " with softmax, from " +
                   fixed_text(weight_at(kS, 10), 3) + " to " + fixed_text(weight_at(kS, 100000), 4) +
                   " with SSMax; a score takes half of the weight, for n = 10 and 10,000, where it is " + above(0) +
                   " above the others with softmax, " + above(kS) + " with s = " + gnuplot_number(kS) +
                   " (1/s = " + fixed_text(1 / kS, 2) + ") and " + above(1) + " with s = 1";
  finding.verdict = fades && stays ? kReproduced : kNotReproduced;
  report.findings = {finding};
  report.body = "Figure 1: the weight of a score of +3 among n − 1 of −2.\n\n" +
                markdown_table({"n", "softmax", "SSMax, s = 0.43"}, weights) +
                "\nFigure 3: the z_max that takes half of the weight, above n − 1 scores spread evenly from 0 to 1. "
                "With growing n\nit approaches 1 + 1/s with SSMax, slowly, and rises by ln 10 = 2.30 with every factor "
                "of 10 with softmax. The\npaper's own values of s and n in Figure 3 are not known here; s = 0.43 is "
                "that of its Figure 1.\n\n" +
                markdown_table({"n", "softmax", "SSMax, s = 0.43", "SSMax, s = 1"}, scores);
  report.figures = {{"figure1", figure1_script()}};
  return report;
}
