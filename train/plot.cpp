#include "train/plot.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <sstream>
#include <vector>

#include "train/gnuplot.h"

namespace {

// With more groups, raw curves and bands would only be clouds; the intervals are in the legend still.
constexpr std::size_t kMostClouds = 7;

constexpr int kPlotWidth = 690, kLeftMargin = 95, kLine = 20,
              kCharacter = 7;      // pixels; of a legend's line, of a letter
constexpr double kEndSpace = 0.1;  // room for the final losses at the right, of the axis of tokens

// ------------------------------------------------------------------------------------------------ the numbers

// The unit of the axis of tokens.
struct Unit {
  double tokens = 1;
  const char* label = "training tokens";
};

Unit unit_for(double most_tokens) {
  if (most_tokens >= 2e9) return {1e9, "training tokens (billions)"};
  if (most_tokens >= 2e6) return {1e6, "training tokens (millions)"};
  if (most_tokens >= 2e3) return {1e3, "training tokens (thousands)"};
  return {};
}

struct Curves {
  std::vector<Curve> training, validation, difference;  // by group
  double most_tokens = 0;
  Unit unit;
};

Curves curves_of(const Comparison& comparison) {
  Curves curves;
  for (const Group& group : comparison.groups) {
    curves.training.push_back(training_curve(group, comparison.smoothing));
    curves.validation.push_back(validation_curve(group));
    curves.difference.push_back(comparison.has_baseline ? difference_curve(group, comparison.groups.front()) : Curve());
    for (const Run& run : group.runs) curves.most_tokens = std::max(curves.most_tokens, run.tokens_at(run.last_step));
  }
  curves.unit = unit_for(curves.most_tokens);
  return curves;
}

struct Range {
  double low, high;
  bool clips = false;  // leaves something out
};

std::string range_text(const Range& range) { return gnuplot_range(range.low, range.high); }

// All losses after the first twentieth of training, so that the fall from the start does not flatten the rest; a run
// that explodes is cut off at the loss of the start.
Range loss_range(const Comparison& comparison, const Curves& curves) {
  double low = HUGE_VAL, high = -HUGE_VAL, start = -HUGE_VAL;
  auto include = [&](const Curve& curve) {
    for (const CurvePoint& point : curve) {
      if (point.tokens == 0 || &point == &curve.front()) start = std::max(start, point.loss.mean);
      low = std::min(low, point.loss.mean);
      if (point.tokens >= curves.most_tokens / 20) high = std::max(high, point.loss.mean);
    }
  };
  for (const Curve& curve : curves.training) include(curve);
  for (const Curve& curve : curves.validation) include(curve);
  for (const Group& group : comparison.groups)
    if (group.loss.count > 0) low = std::min(low, group.loss.mean), high = std::max(high, group.loss.mean);
  if (!std::isfinite(low)) return {0, 1, true};
  high = std::min(std::max(high, low), std::max(start, low));
  const double margin = std::max(0.05 * (high - low), 1e-3);
  return {low - margin, high + margin, start > high + margin};
}

bool draws_clouds(const Comparison& comparison) { return comparison.groups.size() <= kMostClouds; }

// Differences after the first quarter of training. A normalizer that is far off would flatten the others: what lies
// beyond four times the median distance from 0 is left out, and its legend still tells the number. So is the outer part
// of a band that dwarfs the differences, as that of two seeds does.
Range difference_range(const Comparison& comparison, const Curves& curves) {
  std::vector<std::vector<Estimate>> shown(comparison.groups.size());
  std::vector<double> extents;  // by group: the farthest from 0
  for (std::size_t g = 1; g < comparison.groups.size(); g++) {
    for (const CurvePoint& point : curves.difference[g])
      if (point.tokens >= curves.most_tokens / 4) shown[g].push_back(point.loss);
    if (std::isfinite(comparison.groups[g].difference.mean)) shown[g].push_back(comparison.groups[g].difference);
    double extent = 0;
    for (const Estimate& value : shown[g]) extent = std::max(extent, std::abs(value.mean));
    if (extent > 0) extents.push_back(extent);
  }
  if (extents.empty()) return {-0.01, 0.01};
  std::sort(extents.begin(), extents.end());
  const double most = std::min(extents.back(), 4 * extents[(extents.size() - 1) / 2]);
  Range range{0, 0, most < extents.back()};
  auto include = [&](double value, double limit) {
    range.low = std::min(range.low, std::max(value, -limit));
    range.high = std::max(range.high, std::min(value, limit));
  };
  for (const auto& values : shown)
    for (const Estimate& value : values) {
      include(value.mean, most);
      if (!draws_clouds(comparison) || !value.has_interval() || std::abs(value.mean) > most) continue;
      include(value.mean - value.half_width, 3 * most);
      include(value.mean + value.half_width, 3 * most);
    }
  const double margin = 0.06 * (range.high - range.low);
  return {range.low - margin, range.high + margin, range.clips};
}

// ------------------------------------------------------------------------------------------------ the script

std::string name_of(const char* kind, std::size_t group) { return kind + std::to_string(group); }

std::string rows_of(const Curve& curve, const Unit& unit) {  // tokens, mean, lower, upper
  std::string rows;
  for (const CurvePoint& point : curve) {
    const double band = point.loss.has_interval() ? point.loss.half_width : 0;
    rows += gnuplot_number(point.tokens / unit.tokens) + " " + gnuplot_number(point.loss.mean) + " " +
            gnuplot_number(point.loss.mean - band) + " " + gnuplot_number(point.loss.mean + band) + "\n";
  }
  return rows.empty() ? "NaN NaN NaN NaN\n" : rows;
}

// A final value stands to the right of the end, next to those of the other groups.
std::string end_row(const Comparison& comparison, std::size_t group, const Estimate& value, const Curves& curves) {
  if (!std::isfinite(value.mean)) return rows_of({}, curves.unit);
  const double place = static_cast<double>(group + 1) / static_cast<double>(comparison.groups.size() + 1);
  return rows_of({{0, curves.most_tokens * (1 + kEndSpace * place), value}}, curves.unit);
}

std::string raw_rows(const Group& group, const Unit& unit) {
  std::string rows;
  for (const Run& run : group.runs) {
    for (const StepRecord& record : run.steps)
      rows += gnuplot_number(record.tokens / unit.tokens) + " " + gnuplot_number(record.loss) + "\n";
    rows += "\n";  // the next run is another line
  }
  return rows + "NaN NaN\n";
}

// Every number of the picture as data blocks: $raw0, $train0, $val0, $end0, $difference0, $enddifference0, $raw1, ...
std::string data_blocks(const Comparison& comparison, const Curves& curves) {
  std::string text;
  for (std::size_t g = 0; g < comparison.groups.size(); g++) {
    const Group& group = comparison.groups[g];
    if (draws_clouds(comparison)) text += data_block(name_of("raw", g), raw_rows(group, curves.unit));
    text += data_block(name_of("train", g), rows_of(curves.training[g], curves.unit));
    text += data_block(name_of("val", g), rows_of(curves.validation[g], curves.unit));
    text += data_block(name_of("end", g), end_row(comparison, g, group.loss, curves));
    text += data_block(name_of("difference", g), rows_of(curves.difference[g], curves.unit));
    text += data_block(name_of("enddifference", g), end_row(comparison, g, group.difference, curves));
  }
  return text;
}

std::string difference_label(const Group& group) {
  std::string text = group.label + "  " + signed_text(group.difference.mean, 4);
  if (group.difference.has_interval()) text += " \u00B1 " + fixed_text(group.difference.half_width, 4);
  return std::isnan(group.difference.mean) ? group.label + "  no final loss" : text;
}

std::string smoothing_label(const Comparison& comparison) {
  if (comparison.smoothing == 1) return "training loss";
  return "training loss, running mean of " + std::to_string(comparison.smoothing) + " steps";
}

constexpr const char* kRawLabel = "training loss, each step";
constexpr const char* kValidationLabel = "validation loss, during training";
constexpr const char* kFinalLabel = "validation loss, final, whole split";

std::string point_size(const Comparison& comparison) { return draws_clouds(comparison) ? " ps 1.2" : " ps 0.8"; }

std::string losses_plot(const Comparison& comparison) {
  std::vector<std::string> elements;
  auto add = [&](const std::string& source, const std::string& look, const std::string& title) {
    elements.push_back(source + " with " + look + (title.empty() ? " notitle" : " title " + gnuplot_text(title)));
  };
  const std::size_t groups = comparison.groups.size();
  const bool raw = draws_clouds(comparison);
  for (std::size_t g = 0; g < groups && raw; g++)
    add("$" + name_of("raw", g) + " using 1:2", "lines lw 0.6" + line_colour(line_style(g), "CC"), "");
  for (std::size_t i = 0; i < groups; i++) {
    const std::size_t g = groups - 1 - i;  // the baseline on top of the others
    const LineStyle style = line_style(g);
    const std::string points = " pt " + std::to_string(style.point) + line_colour(style);
    add("$" + name_of("train", g) + " using 1:2", "lines lw 1.6 dt " + style.dash + line_colour(style), "");
    add("$" + name_of("val", g) + " using 1:2", "points ps 0.7" + points, "");
    add("$" + name_of("end", g) + " using 1:2", "points" + point_size(comparison) + points, "");
  }
  for (std::size_t g = 0; g < groups; g++) {
    const LineStyle style = line_style(g);
    add("keyentry",
        "linespoints lw 1.6 ps 0.9 dt " + style.dash + " pt " + std::to_string(style.point) + line_colour(style),
        comparison.groups[g].label);
  }
  const std::string grey = " lc rgb '#666666'";
  add("keyentry", "lines lw 0.1 lc rgb '#FFFFFFFF'", " ");
  add("keyentry", "lines lw 1.6" + grey, smoothing_label(comparison));
  if (raw) add("keyentry", "lines lw 0.6 lc rgb '#AAAAAA'", kRawLabel);
  add("keyentry", "points ps 0.7 pt 7" + grey, kValidationLabel);
  add("keyentry", "points" + point_size(comparison) + " pt 7" + grey, kFinalLabel);
  return plot_command(elements);
}

std::string differences_plot(const Comparison& comparison) {
  std::vector<std::string> elements;
  for (std::size_t g = 1; g < comparison.groups.size() && draws_clouds(comparison); g++)
    elements.push_back("$" + name_of("difference", g) +
                       " using 1:3:4 with filledcurves fs transparent solid 0.13 noborder" +
                       line_colour(line_style(g)) + " notitle");
  elements.push_back("0 with lines lw 1.6" + line_colour(line_style(0)) + " title " +
                     gnuplot_text(comparison.groups.front().label));
  for (std::size_t g = 1; g < comparison.groups.size(); g++) {
    const LineStyle style = line_style(g);
    const std::string look = " pt " + std::to_string(style.point) + line_colour(style);
    elements.push_back("$" + name_of("difference", g) + " using 1:2 with linespoints lw 1.6 ps 0.7 dt " + style.dash +
                       look + " title " + gnuplot_text(difference_label(comparison.groups[g])));
    elements.push_back("$" + name_of("enddifference", g) +
                       (draws_clouds(comparison) ? " using 1:2:3:4 with yerrorbars lw 1.2" : " using 1:2 with points") +
                       point_size(comparison) + look + " notitle");
  }
  return plot_command(elements);
}

// What the numbers in the legend of the differences are.
std::string difference_key_title(const Comparison& comparison) {
  for (const Group& group : comparison.groups)
    if (group.difference.has_interval()) return "final difference \u00B1 95 % interval over seeds";
  for (const Group& group : comparison.groups)
    if (group.pairs == 1) return "final difference; one seed: no error bar";
  return "final difference; no common seed: no error bar";
}

}  // namespace

std::string picture_script(const Comparison& comparison, const std::string& terminal) {
  const Curves curves = curves_of(comparison);
  const bool differences = comparison.has_baseline && comparison.groups.size() > 1;

  std::size_t longest = std::max(smoothing_label(comparison).size(), difference_key_title(comparison).size());
  for (const Group& group : comparison.groups)
    longest = std::max(longest, differences ? difference_label(group).size() : group.label.size());
  const int panel_height = std::max(350, kLine * (static_cast<int>(comparison.groups.size()) + 6));
  const int top = 25, gap = 65, below = 65;
  const int right = kLeftMargin + kPlotWidth;
  const Picture picture{right + 70 + kCharacter * static_cast<int>(longest),
                        top + panel_height + (differences ? gap + panel_height : 0) + below};
  auto panel = [&](int start) {
    return picture.panel(kLeftMargin, start, right, start + panel_height) + picture.legend(right + 15, start);
  };

  std::ostringstream script;
  script << picture.begin(terminal) << data_blocks(comparison, curves) << "set multiplot\nset xrange [0:"
         << gnuplot_number(std::max(1.0, curves.most_tokens) * (1 + kEndSpace) / curves.unit.tokens) << "]\n"
         << panel(top) << "set xlabel " << gnuplot_text(differences ? "" : curves.unit.label)
         << " offset 0,0.6\nset ylabel 'loss (nats per token)' offset 0.8,0\nset yrange "
         << range_text(loss_range(comparison, curves)) << "\n"
         << losses_plot(comparison);
  if (differences) {
    const Range range = difference_range(comparison, curves);
    script << panel(top + panel_height + gap) << "set key title " << gnuplot_text(difference_key_title(comparison))
           << " left\nset xlabel " << gnuplot_text(curves.unit.label) << " offset 0,0.6\nset ylabel "
           << gnuplot_text("validation loss minus " + comparison.groups.front().label + "'s (nats per token)")
           << " offset 0.8,0\nset yrange " << range_text(range) << "\n";
    if (range.clips)
      script << "set label 'curves that leave this panel: see their final difference at the right' at graph 0.5, "
                "graph 1.03 center textcolor rgb '#666666'\n";
    script << differences_plot(comparison);
  }
  script << "unset multiplot\n";
  return script.str();
}

std::string text_script(const Comparison& comparison, int columns, int rows) {
  const Curves curves = curves_of(comparison);
  std::ostringstream script;
  script << "set encoding utf8\nset terminal dumb size " << columns << "," << rows
         << " noenhanced\nset datafile missing 'NaN'\n"
         << data_blocks(comparison, curves)
         << "set tics nomirror\nset key bmargin center horizontal samplen 2 width 3\nset xrange [0:"
         << gnuplot_number(std::max(1.0, curves.most_tokens) * 1.02 / curves.unit.tokens) << "]\nset xlabel '"
         << curves.unit.label << "'\n";
  std::vector<std::string> losses, differences;
  for (std::size_t g = 0; g < comparison.groups.size(); g++) {
    const std::string title = " lt " + std::to_string(g + 1) + " title " + gnuplot_text(comparison.groups[g].label);
    losses.push_back("$" + name_of("val", g) + " using 1:2 with linespoints" + title);
    if (g > 0) differences.push_back("$" + name_of("difference", g) + " using 1:2 with linespoints" + title);
  }
  script << "set title 'validation loss (nats per token)'\nset yrange " << range_text(loss_range(comparison, curves))
         << "\n"
         << plot_command(losses);
  if (comparison.has_baseline && !differences.empty())
    script << "set title "
           << gnuplot_text("validation loss minus " + comparison.groups.front().label + "'s (nats per token)")
           << "\nset yrange " << range_text(difference_range(comparison, curves)) << "\n"
           << plot_command(differences);
  return script.str();
}

std::optional<std::string> draw_picture(const Comparison& comparison, const std::string& path) {
  return run_gnuplot(picture_script(comparison, terminal_for(path)));
}

std::optional<std::string> draw_text(const Comparison& comparison, int columns, int rows) {
  rows = std::max(rows, 20 + static_cast<int>(comparison.groups.size()) / 3);  // of which the legend takes a third
  return run_gnuplot(text_script(comparison, columns, rows));
}

TerminalSize terminal_size() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return {};
  return {size.ws_col, size.ws_row};
}
