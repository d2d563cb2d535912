#include "train/plot.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "data/error.h"

namespace {

// Okabe and Ito's palette, which people with any colour vision tell apart; without its yellow, too light for lines on
// paper. Dashes and point shapes repeat after 4 and 11, so that no two of 7 * 4 * 11 groups look the same, in grey
// neither.
constexpr const char* kColours[] = {"000000", "0072B2", "D55E00", "009E73", "CC79A7", "56B4E9", "E69F00"};
constexpr const char* kDashes[] = {"solid", "(8,4)", "(3,3)", "(10,3,2,3)"};
constexpr int kPoints[] = {7, 5, 9, 11, 13, 6, 4, 8, 10, 12, 2};  // filled shapes first
constexpr std::size_t kMostRawGroups = 7;                         // beyond, faint raw curves would only be a grey cloud

constexpr int kWidth = 1000, kLine = 17, kCharacter = 8;  // of a picture, one line of the legend, one letter: pixels

struct Style {
  std::string colour, dash;
  int point;
};

Style style_of(std::size_t group) {
  return {kColours[group % std::size(kColours)], kDashes[group % std::size(kDashes)],
          kPoints[group % std::size(kPoints)]};
}

std::string colour(const Style& style, const char* transparency = "00") {
  return " lc rgb '#" + std::string(transparency) + style.colour + "'";
}

std::string number(double value) {
  if (!std::isfinite(value)) return "NaN";
  std::ostringstream text;
  text.precision(10);
  text << value;
  return text.str();
}

// A text as gnuplot's single-quoted string.
std::string quoted(const std::string& text) {
  std::string result = "'";
  for (char letter : text) result += letter == '\'' ? "''" : std::string(1, letter);
  return result + "'";
}

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

std::string range_text(const Range& range) { return "[" + number(range.low) + ":" + number(range.high) + "]"; }

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

// Differences after the first quarter of training. A normalizer that is far off would flatten the others: what lies
// beyond four times the median distance from 0 is left out, and its legend still tells the number.
Range difference_range(const Comparison& comparison, const Curves& curves) {
  std::vector<double> extents;  // by group: the farthest from 0
  for (std::size_t g = 1; g < comparison.groups.size(); g++) {
    double extent = 0;
    auto include = [&](const Estimate& value) {
      const double band = value.has_interval() ? value.half_width : 0;
      if (std::isfinite(value.mean))
        extent = std::max(extent, std::abs(value.mean) + std::min(band, std::abs(value.mean)));
    };
    for (const CurvePoint& point : curves.difference[g])
      if (point.tokens >= curves.most_tokens / 4) include(point.loss);
    include(comparison.groups[g].difference);
    if (extent > 0) extents.push_back(extent);
  }
  if (extents.empty()) return {-0.01, 0.01};
  std::sort(extents.begin(), extents.end());
  const double most = std::min(extents.back(), 4 * extents[(extents.size() - 1) / 2]);
  Range range{0, 0, most < extents.back()};
  for (std::size_t g = 1; g < comparison.groups.size(); g++)
    for (const CurvePoint& point : curves.difference[g]) {
      if (point.tokens < curves.most_tokens / 4) continue;
      const double band = point.loss.has_interval() ? point.loss.half_width : 0;
      range.low = std::min(range.low, std::max(point.loss.mean - band, -most));
      range.high = std::max(range.high, std::min(point.loss.mean + band, most));
    }
  for (const Group& group : comparison.groups) {
    if (!std::isfinite(group.difference.mean)) continue;
    range.low = std::min(range.low, std::max(group.difference.mean, -most));
    range.high = std::max(range.high, std::min(group.difference.mean, most));
  }
  const double margin = 0.1 * (range.high - range.low);
  return {range.low - margin, range.high + margin, range.clips};
}

// ------------------------------------------------------------------------------------------------ the script

std::string block(const std::string& name, const std::string& rows) {
  return "$" + name + " << EOD\n" + rows + "EOD\n";
}

std::string name_of(const char* kind, std::size_t group) { return kind + std::to_string(group); }

std::string rows_of(const Curve& curve, const Unit& unit) {  // tokens, mean, lower, upper
  std::string rows;
  for (const CurvePoint& point : curve) {
    const double band = point.loss.has_interval() ? point.loss.half_width : 0;
    rows += number(point.tokens / unit.tokens) + " " + number(point.loss.mean) + " " + number(point.loss.mean - band) +
            " " + number(point.loss.mean + band) + "\n";
  }
  return rows.empty() ? "NaN NaN NaN NaN\n" : rows;
}

std::string end_row(const Group& group, const Estimate& value, const Unit& unit) {
  const Run& run = group.runs.front();
  if (!std::isfinite(value.mean)) return rows_of({}, unit);
  return rows_of({{run.last_step, run.tokens_at(run.last_step), value}}, unit);
}

std::string raw_rows(const Group& group, const Unit& unit) {
  std::string rows;
  for (const Run& run : group.runs) {
    for (const StepRecord& record : run.steps)
      rows += number(record.tokens / unit.tokens) + " " + number(record.loss) + "\n";
    rows += "\n";  // the next run is another line
  }
  return rows + "NaN NaN\n";
}

// Every number of the picture as data blocks: $raw0, $train0, $val0, $end0, $difference0, $enddifference0, $raw1, ...
std::string data_blocks(const Comparison& comparison, const Curves& curves, bool raw) {
  std::string text = "set datafile missing 'NaN'\n";
  for (std::size_t g = 0; g < comparison.groups.size(); g++) {
    const Group& group = comparison.groups[g];
    if (raw) text += block(name_of("raw", g), raw_rows(group, curves.unit));
    text += block(name_of("train", g), rows_of(curves.training[g], curves.unit));
    text += block(name_of("val", g), rows_of(curves.validation[g], curves.unit));
    text += block(name_of("end", g), end_row(group, group.loss, curves.unit));
    text += block(name_of("difference", g), rows_of(curves.difference[g], curves.unit));
    text += block(name_of("enddifference", g), end_row(group, group.difference, curves.unit));
  }
  return text;
}

std::string plot_command(const std::vector<std::string>& elements) {
  std::string text = "plot ";
  for (std::size_t i = 0; i < elements.size(); i++) text += (i ? ", \\\n     " : "") + elements[i];
  return text + "\n";
}

std::string difference_label(const Group& group) {
  std::string text = group.label + "  " + signed_text(group.difference.mean, 4);
  if (group.difference.has_interval()) text += " \u00B1 " + fixed_text(group.difference.half_width, 4);
  return std::isnan(group.difference.mean) ? group.label + "  no final loss" : text;
}

std::string smoothing_label(const Comparison& comparison) {
  if (comparison.smoothing == 1) return "training, as logged";
  return "training, running mean of " + std::to_string(comparison.smoothing);
}

std::string losses_plot(const Comparison& comparison, bool raw) {
  std::vector<std::string> elements;
  const std::size_t groups = comparison.groups.size();
  for (std::size_t g = 0; g < groups && raw; g++)
    elements.push_back("$" + name_of("raw", g) + " using 1:2 with lines lw 0.6" + colour(style_of(g), "CC") +
                       " notitle");
  for (std::size_t i = 0; i < groups; i++) {
    const std::size_t g = groups - 1 - i;  // the baseline on top of the others
    const Style style = style_of(g);
    elements.push_back("$" + name_of("train", g) + " using 1:2 with lines lw 1.6 dt " + style.dash + colour(style) +
                       " notitle");
    elements.push_back("$" + name_of("val", g) + " using 1:2 with points ps 0.7 pt " + std::to_string(style.point) +
                       colour(style) + " notitle");
    elements.push_back("$" + name_of("end", g) + " using 1:2 with points ps 1.3 pt " + std::to_string(style.point) +
                       colour(style) + " notitle");
  }
  for (std::size_t g = 0; g < groups; g++) {
    const Style style = style_of(g);
    elements.push_back("keyentry with linespoints lw 1.6 ps 0.9 dt " + style.dash + " pt " +
                       std::to_string(style.point) + colour(style) + " title " + quoted(comparison.groups[g].label));
  }
  const std::string grey = " lc rgb '#666666'";
  elements.push_back("keyentry title ' '");
  elements.push_back("keyentry with lines lw 1.6" + grey + " title " + quoted(smoothing_label(comparison)));
  if (raw) elements.push_back("keyentry with lines lw 0.6 lc rgb '#BBBBBB' title 'training, each logged step'");
  elements.push_back("keyentry with points ps 0.7 pt 7" + grey + " title 'validation, a part'");
  elements.push_back("keyentry with points ps 1.3 pt 7" + grey + " title 'validation, all of it'");
  return plot_command(elements);
}

std::string differences_plot(const Comparison& comparison, const Curves& curves) {
  std::vector<std::string> elements;
  for (std::size_t g = 1; g < comparison.groups.size(); g++) {
    const bool band = std::any_of(curves.difference[g].begin(), curves.difference[g].end(),
                                  [](const CurvePoint& point) { return point.loss.has_interval(); });
    if (band)
      elements.push_back("$" + name_of("difference", g) +
                         " using 1:3:4 with filledcurves fs transparent solid 0.13 noborder" + colour(style_of(g)) +
                         " notitle");
  }
  elements.push_back("0 with lines lw 1.6" + colour(style_of(0)) + " title " +
                     quoted(comparison.groups.front().label + "  0"));
  for (std::size_t g = 1; g < comparison.groups.size(); g++) {
    const Style style = style_of(g);
    const std::string look = " pt " + std::to_string(style.point) + colour(style);
    elements.push_back("$" + name_of("difference", g) + " using 1:2 with linespoints lw 1.6 ps 0.7 dt " + style.dash +
                       look + " title " + quoted(difference_label(comparison.groups[g])));
    elements.push_back("$" + name_of("enddifference", g) + " using 1:2:3:4 with yerrorbars lw 1.2 ps 1.3" + look +
                       " notitle");
  }
  return plot_command(elements);
}

// Where a panel lies in the picture: fractions from the bottom.
std::string panel(double top, double bottom, double right) {
  return "set tmargin at screen " + number(top) + "\nset bmargin at screen " + number(bottom) +
         "\nset lmargin at screen 0.085\nset rmargin at screen " + number(right) + "\nset key at screen " +
         number(right + 0.012) + ", screen " + number(top) + " left top Left reverse\n";
}

std::string picture_script(const Comparison& comparison, const std::string& terminal) {
  const Curves curves = curves_of(comparison);
  const bool raw = comparison.groups.size() <= kMostRawGroups;
  const bool differences = comparison.has_baseline && comparison.groups.size() > 1;

  std::size_t longest = smoothing_label(comparison).size();
  for (const Group& group : comparison.groups)
    longest = std::max(longest, differences ? difference_label(group).size() : group.label.size());
  const int legend = 60 + kCharacter * static_cast<int>(longest);
  const int panel_height = std::max(360, kLine * (static_cast<int>(comparison.groups.size()) + 6));
  const int panels = differences ? 2 : 1, height = panels * (panel_height + 30) + 60;
  const int width = kWidth - 230 + legend;
  const double right = 1 - static_cast<double>(legend) / width, unit = 1.0 / height;
  const double top = 1 - 40 * unit, middle = top - panel_height * unit;

  std::ostringstream script;
  script << "set encoding utf8\nset terminal " << terminal << " size " << width << "," << height
         << " noenhanced font 'Helvetica,13' background rgb 'white'\n"
         << data_blocks(comparison, curves, raw) << "set multiplot\nset border 3 lw 1 lc rgb '#444444'\n"
         << "set tics nomirror out\nset grid lc rgb '#DDDDDD' lw 0.6 dt solid\nset xrange [0:"
         << number(std::max(1.0, curves.most_tokens) * 1.02 / curves.unit.tokens) << "]\n";
  const Range losses = loss_range(comparison, curves);
  script << panel(top, middle, right) << "set ylabel 'loss (nats per token)' offset 0.5\nset yrange "
         << range_text(losses) << "\n";
  if (!differences) script << "set xlabel '" << curves.unit.label << "'\n";
  script << losses_plot(comparison, raw);
  if (differences) {
    const Range range = difference_range(comparison, curves);
    const double upper = middle - 40 * unit;
    script << panel(upper, upper - panel_height * unit, right) << "set xlabel '" << curves.unit.label
           << "'\nset ylabel "
           << quoted("validation loss minus " + comparison.groups.front().label + "'s (nats per token)")
           << " offset 0.5\nset yrange " << range_text(range) << "\n"
           << differences_plot(comparison, curves);
  }
  script << "unset multiplot\n";
  return script.str();
}

std::string text_script(const Comparison& comparison, int columns, int rows) {
  const Curves curves = curves_of(comparison);
  std::ostringstream script;
  script << "set encoding utf8\nset terminal dumb size " << columns << "," << rows << " noenhanced\n"
         << data_blocks(comparison, curves, false)
         << "set tics nomirror\nset key outside top center horizontal\nset xrange [0:"
         << number(std::max(1.0, curves.most_tokens) * 1.02 / curves.unit.tokens) << "]\nset xlabel '"
         << curves.unit.label << "'\n";
  std::vector<std::string> losses, differences;
  for (std::size_t g = 0; g < comparison.groups.size(); g++) {
    const std::string title = " title " + quoted(comparison.groups[g].label);
    losses.push_back("$" + name_of("val", g) + " using 1:2 with linespoints" + title);
    if (g > 0) differences.push_back("$" + name_of("difference", g) + " using 1:2 with linespoints" + title);
  }
  script << "set title 'validation loss (nats per token)'\nset yrange " << range_text(loss_range(comparison, curves))
         << "\n"
         << plot_command(losses);
  if (comparison.has_baseline && !differences.empty())
    script << "set title " << quoted("validation loss minus " + comparison.groups.front().label + "'s (nats per token)")
           << "\nset yrange " << range_text(difference_range(comparison, curves)) << "\n"
           << plot_command(differences);
  return script.str();
}

// ------------------------------------------------------------------------------------------------ gnuplot

// An empty file of its own, removed at the end.
struct TemporaryFile {
  std::string path = (std::filesystem::temp_directory_path() / "attnorm-plot-XXXXXX").string();
  TemporaryFile() {
    const int file = mkstemp(path.data());
    if (file < 0) throw Failure("no temporary file can be made in " + std::filesystem::temp_directory_path().string());
    close(file);
  }
  ~TemporaryFile() { unlink(path.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
};

std::string shell_quoted(const std::string& path) {
  std::string result = "'";
  for (char letter : path) result += letter == '\'' ? "'\\''" : std::string(1, letter);
  return result + "'";
}

// What gnuplot prints for the script; nothing if the shell does not find gnuplot.
std::optional<std::string> run_gnuplot(const std::string& script) {
  const TemporaryFile script_file, error_file;
  if (!(std::ofstream(script_file.path) << script).flush())
    throw Failure("'" + script_file.path + "' cannot be written");
  const std::string command =
      "gnuplot " + shell_quoted(script_file.path) + " 2> " + shell_quoted(error_file.path) + " < /dev/null";
  FILE* pipe = popen(command.c_str(), "r");
  if (!pipe) throw Failure("no shell can be started for gnuplot");
  std::string output;
  char buffer[1 << 16];
  for (std::size_t count; (count = fread(buffer, 1, sizeof buffer, pipe)) > 0;) output.append(buffer, count);
  const int status = pclose(pipe);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127) return std::nullopt;  // the shell's "command not found"
  if (status != 0 || output.empty()) {
    std::ifstream errors(error_file.path);
    std::string line, last = "no message";
    while (std::getline(errors, line))
      if (line.find_first_not_of(" ^\t") != std::string::npos) last = line;
    throw Failure("gnuplot failed: " + last);
  }
  return output;
}

std::string extension_of(const std::string& path) { return std::filesystem::path(path).extension().string(); }

}  // namespace

void check_picture_name(const std::string& path) {
  if (extension_of(path) != ".svg" && extension_of(path) != ".png")
    throw Error("--out is '" + path + "'; it must end in .svg or .png");
}

std::optional<std::string> draw_picture(const Comparison& comparison, const std::string& path) {
  check_picture_name(path);
  return run_gnuplot(picture_script(comparison, extension_of(path) == ".svg" ? "svg" : "pngcairo"));
}

std::optional<std::string> draw_text(const Comparison& comparison, int columns, int rows) {
  return run_gnuplot(text_script(comparison, columns, rows));
}

TerminalSize terminal_size() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return {};
  return {size.ws_col, size.ws_row};
}
