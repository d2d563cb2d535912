// needle: the share of values that a model finds by their key, by context length and depth, and how much weight its heads
// put on the value. How far retrieval reaches is asked of models that retrieve at the training length; how many those are
// is a result of its own.
#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <sstream>

#include "train/comparison.h"
#include "train/experiments/figure.h"
#include "train/experiments/report.h"
#include "train/gnuplot.h"

namespace {

constexpr double kLearned = 0.95;  // share of exact answers at the training length

struct Setting {
  std::string title, quantity;
};
const std::vector<Setting> kSettings{{"RoPE", "needle"}, {"RoPE, theta × 50", "needle-theta50"}};

// A run's share of exact answers, or another quantity, at a length, mean over depths, or at one depth.
RunValue share_at(const Experiment& experiment, const std::string& quantity, double length,
                  std::optional<double> depth = std::nullopt) {
  return [&experiment, quantity, length, depth](const ResultRow& row) {
    std::vector<double> values;
    for (const Measurement& m : experiment.records.measured(row.run, quantity))
      if (m.x == length && (!depth || m.y == *depth)) values.push_back(m.value);
    return estimate(values).mean;
  };
}

// The runs of a sample that learned the task: they find at least kLearned of the values at the training length.
struct Learned {
  Sample sample;
  size_t trained = 0;  // how many runs there were

  std::string count() const { return std::to_string(sample.rows.size()) + " of " + std::to_string(trained); }
  std::string label() const {
    return sample.normalizer + (sample.rows.size() < trained ? " (" + count() + " seeds)" : "");
  }
};

Learned learned_of(const Experiment& experiment, const Sample& sample) {
  const RunValue at_T = share_at(experiment, kSettings.front().quantity, sequence_length(experiment.configuration));
  Learned learned{sample, sample.rows.size()};
  std::erase_if(learned.sample.rows, [&](const ResultRow* row) { return !(at_T(*row) >= kLearned); });
  return learned;
}

struct Grid {
  std::vector<double> lengths, depths;
};
Grid grid_of(const Experiment& experiment, const std::vector<Sample>& samples) {
  std::set<double> lengths, depths;
  for (const Sample& sample : samples)
    for (const ResultRow* row : sample.rows)
      for (const Measurement& m : experiment.records.measured(row->run, "needle"))
        lengths.insert(m.x), depths.insert(m.y);
  return {{lengths.begin(), lengths.end()}, {depths.begin(), depths.end()}};
}

// A map for each normalizer and setting: colour and text are the mean over seeds, with the interval's half width below it,
// ">1" where it is wider than the whole scale.
std::string heat_maps(const Experiment& experiment, const std::vector<Learned>& models, const Grid& grid) {
  constexpr int kCell = 62, kRow = 44, kLeft = 90, kTop = 45, kGapX = 60, kGapY = 95;
  const int width = kCell * int(grid.lengths.size()), height = kRow * int(grid.depths.size());
  const Picture picture{kLeft + int(kSettings.size()) * (width + kGapX) + 70,
                        kTop + int(models.size()) * (height + kGapY)};
  std::ostringstream script;
  // Cividis, which is even in lightness for every kind of colour vision.
  script << picture.begin("svg")
         << "set palette defined (0 '#00204c', 0.25 '#31446b', 0.5 '#666970', 0.75 '#a59c74', 1 '#ffe945')\n"
            "set cbrange [0:1]\nset grid noxtics noytics\nunset key\nset multiplot\n";
  for (size_t row = 0; row < models.size(); row++)
    for (size_t column = 0; column < kSettings.size(); column++) {
      const int left = kLeft + int(column) * (width + kGapX), top = kTop + int(row) * (height + kGapY);
      script << picture.panel(left, top, left + width, top + height) << "unset label\nset xtics (";
      for (size_t i = 0; i < grid.lengths.size(); i++) script << (i ? ", " : "") << "'" << grid.lengths[i] << "' " << i;
      script << ") scale 0\nset ytics (";
      for (size_t i = 0; i < grid.depths.size(); i++)
        script << (i ? ", " : "") << "'" << fixed_text(100 * grid.depths[i], 0) << " %%' " << i;
      script << ") scale 0\nset xrange [-0.5:" << grid.lengths.size() - 1 << ".5]\nset yrange ["
             << grid.depths.size() - 1 << ".5:-0.5]\nset xlabel 'context length (tokens)' offset 0,0.4\n"
             << (column == 0 ? "set ylabel 'depth of the needle' offset -0.5,0\n" : "unset ylabel\n") << "set label "
             << gnuplot_text(models[row].label() + ", " + kSettings[column].title) << " at graph 0, graph 1.06 left\n"
             << (row == 0 && column + 1 == kSettings.size()
                     ? "set colorbox user origin screen " + gnuplot_number(double(left + width + 15) / picture.width) +
                           ", screen " + gnuplot_number(1 - double(top + height) / picture.height) + " size screen " +
                           gnuplot_number(14.0 / picture.width) + ", screen " +
                           gnuplot_number(double(height) / picture.height) +
                           "\nset cblabel 'share of exact answers' offset 0.5,0\n"
                     : "unset colorbox\n");
      std::string rows;
      for (size_t x = 0; x < grid.lengths.size(); x++)
        for (size_t y = 0; y < grid.depths.size(); y++) {
          const Estimate exact = estimate(values_of(
              models[row].sample, share_at(experiment, kSettings[column].quantity, grid.lengths[x], grid.depths[y])));
          const std::string interval = !exact.has_interval()  ? ""
                                       : exact.half_width > 1 ? "±>1"
                                                              : "±" + fixed_text(exact.half_width, 2);
          rows += std::to_string(x) + " " + std::to_string(y) + " " + gnuplot_number(exact.mean) + " \"" +
                  fixed_text(exact.mean, 2) + "\\n" + interval + "\" " + (exact.mean > 0.55 ? "0x000000" : "0xFFFFFF") +
                  "\n";
        }
      const std::string block = "m" + std::to_string(row) + "_" + std::to_string(column);
      script << data_block(block, rows)
             << plot_command({"$" + block + " using 1:2:3 with image pixels",
                              "$" + block + " using 1:2:4:5 with labels textcolor rgb variable font ',10'"});
    }
  script << "unset multiplot\n";
  return script.str();
}

// The heads in the order of their needle scores, at the longest context.
Panel heads_panel(const Experiment& experiment, const std::vector<Learned>& models, const Setting& setting,
                  double length) {
  Panel panel;
  panel.x_label = "rank of the head";
  panel.y_label = "needle score (weight on the value)";
  panel.y_least = 0, panel.y_most = 1;
  panel.legend_title = setting.title + ", " + fixed_text(length, 0) + " tokens";
  for (size_t i = 0; i < models.size(); i++) {
    std::map<double, std::vector<double>> ranks;
    for (const ResultRow* row : models[i].sample.rows)
      for (const Measurement& m : experiment.records.measured(row->run, setting.quantity + ".heads"))
        if (m.y == length) ranks[m.x].push_back(m.value);
    Series series;
    series.label = models[i].label();
    series.style = i;
    series.points = true;
    for (const auto& [rank, scores] : ranks) {
      series.x.push_back(rank);
      series.y.push_back(estimate(scores));
    }
    panel.series.push_back(series);
  }
  return panel;
}

std::string lengths_table(const Experiment& experiment, const std::vector<Learned>& models, const Grid& grid,
                          const std::string& quantity) {
  std::vector<std::string> header{"normalizer"};
  for (double length : grid.lengths) header.push_back(fixed_text(length, 0));
  std::vector<std::vector<std::string>> rows;
  for (const Learned& model : models) {
    rows.push_back({"`" + model.sample.normalizer + "`"});
    for (double length : grid.lengths)
      rows.back().push_back(
          with_interval(estimate(values_of(model.sample, share_at(experiment, quantity, length))), 2));
  }
  return markdown_table(header, rows);
}

// What each run finds at the training length, and how many of them learned the task.
std::string learned_table(const Experiment& experiment, const std::vector<Sample>& samples) {
  const double T = sequence_length(experiment.configuration);
  std::vector<std::vector<std::string>> rows;
  for (const Sample& sample : samples) {
    std::string shares;
    for (const ResultRow* row : sample.rows)
      shares +=
          (shares.empty() ? "" : ", ") +
          (row->diverged() ? "diverged" : fixed_text(share_at(experiment, kSettings.front().quantity, T)(*row), 2));
    rows.push_back({"`" + sample.normalizer + "`", shares, learned_of(experiment, sample).count()});
  }
  return "Share of exact answers at " + fixed_text(T, 0) +
         " tokens, the training length, by seed. A model has learned the task where it is " + fixed_text(kLearned, 2) +
         " or more; what follows is of those, or of all where there is none.\n\n" +
         markdown_table({"normalizer", "exact", "learned"}, rows) + "\n";
}

}  // namespace

Report report_needle(const Experiment& experiment) {
  Report report;
  const double T = sequence_length(experiment.configuration);
  const std::vector<Sample> all = samples_of(experiment, "retrieval");
  const Sample *base = find_sample(all, experiment.configuration.baseline),
               *primary = find_sample(all, experiment.configuration.claims.front().primary);
  if (!base || !primary) return report;
  const Grid grid = grid_of(experiment, all);
  if (grid.lengths.empty()) return report;

  std::vector<Learned> models;
  for (const Sample& sample : all)
    if (sample.diverged == 0) models.push_back(learned_of(experiment, sample));
  report.body = learned_table(experiment, all);
  std::erase_if(models, [](const Learned& model) { return model.sample.rows.empty(); });
  if (models.empty())
    for (const Sample& sample : all)
      if (sample.diverged == 0) models.push_back({sample, sample.rows.size()});

  for (const Setting& setting : kSettings) {
    report.body += "## " + setting.title + "\n\n";
    for (const auto& [end, what] : {std::pair("", "Share of exact answers, all four digits"),
                                    std::pair(".first-digit", "Share of answers with the right first digit"),
                                    std::pair(".top-score", "Weight on the value, of the head with most of it")})
      report.body += std::string(what) + ", by context length, mean over depths:\n\n" +
                     lengths_table(experiment, models, grid, setting.quantity + end) + "\n";
  }
  report.figures.push_back({"needle", heat_maps(experiment, models, grid)});
  report.figures.push_back(
      {"heads", figure_script({heads_panel(experiment, models, kSettings[0], grid.lengths.front()),
                               heads_panel(experiment, models, kSettings[1], grid.lengths.back())})});
  if (base->diverged + primary->diverged > 0) return report;

  // Primary: theta times 50, the mean over all lengths beyond the training length, over seeds with which both learned.
  auto exact_beyond = [&](const ResultRow& row) {
    std::vector<double> shares;
    for (double length : grid.lengths)
      if (length > T) shares.push_back(share_at(experiment, "needle-theta50", length)(row));
    return estimate(shares).mean;
  };
  const Learned of_base = learned_of(experiment, *base), of_primary = learned_of(experiment, *primary);
  const Estimate difference = estimate(paired_values(of_primary.sample, of_base.sample, exact_beyond));
  Finding finding;
  finding.setting = data_and_seeds(*base) + ", trained at T = " + fixed_text(T, 0) + ", " +
                    std::to_string(base->rows.front()->steps) + " updates";
  finding.result = of_base.count() + " models with softmax and " + of_primary.count() + " with ssmax find " +
                   fixed_text(100 * kLearned, 0) + " % of the values at T";
  if (difference.count > 0)
    finding.result += "; where both do, ssmax − softmax = " + signed_with_interval(difference, 2) +
                      " of the values at 2 T to 16 T, theta × 50 (" + std::to_string(difference.count) + " seeds)";
  const bool neither_learned = of_base.sample.rows.empty() && of_primary.sample.rows.empty();
  finding.verdict = neither_learned             ? "not learned at this size"
                    : difference.has_interval() ? verdict_of(difference, false)
                                                : kNotResolved;
  report.findings = {finding};
  return report;
}
