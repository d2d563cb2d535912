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

// Okabe and Ito's palette, which people with any colour vision tell apart, without its yellow, too light for lines on
// paper: black for the first group, then these. Dashes and point shapes repeat after 4 and 11, so that no two of the
// first 132 others look the same; and neighbours differ in grey too.
constexpr const char* kColours[] = {"0072B2", "D55E00", "009E73", "CC79A7", "56B4E9", "E69F00"};
constexpr const char* kDashes[] = {"solid", "(8,4)", "(3,3)", "(10,3,2,3)"};
constexpr int kPoints[] = {7, 5, 9, 11, 13, 6, 4, 8, 10, 12, 2};  // filled shapes first

// With more groups, raw curves and bands would only be clouds; the intervals are in the legend still.
constexpr std::size_t kMostClouds = 7;

constexpr int kPlotWidth = 690, kLeftMargin = 95, kLine = 20,
              kCharacter = 7;      // pixels; of a legend's line, of a letter
constexpr double kEndSpace = 0.1;  // room for the final losses at the right, of the axis of tokens

struct Style {
  std::string colour, dash;
  int point;
};

Style style_of(std::size_t group) {
  return {group == 0 ? "000000" : kColours[(group - 1) % std::size(kColours)], kDashes[group % std::size(kDashes)],
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
std::string gnuplot_text(const std::string& text) {
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
      rows += number(record.tokens / unit.tokens) + " " + number(record.loss) + "\n";
    rows += "\n";  // the next run is another line
  }
  return rows + "NaN NaN\n";
}

// Every number of the picture as data blocks: $raw0, $train0, $val0, $end0, $difference0, $enddifference0, $raw1, ...
std::string data_blocks(const Comparison& comparison, const Curves& curves) {
  std::string text = "set datafile missing 'NaN'\n";
  for (std::size_t g = 0; g < comparison.groups.size(); g++) {
    const Group& group = comparison.groups[g];
    if (draws_clouds(comparison)) text += block(name_of("raw", g), raw_rows(group, curves.unit));
    text += block(name_of("train", g), rows_of(curves.training[g], curves.unit));
    text += block(name_of("val", g), rows_of(curves.validation[g], curves.unit));
    text += block(name_of("end", g), end_row(comparison, g, group.loss, curves));
    text += block(name_of("difference", g), rows_of(curves.difference[g], curves.unit));
    text += block(name_of("enddifference", g), end_row(comparison, g, group.difference, curves));
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
    add("$" + name_of("raw", g) + " using 1:2", "lines lw 0.6" + colour(style_of(g), "CC"), "");
  for (std::size_t i = 0; i < groups; i++) {
    const std::size_t g = groups - 1 - i;  // the baseline on top of the others
    const Style style = style_of(g);
    const std::string points = " pt " + std::to_string(style.point) + colour(style);
    add("$" + name_of("train", g) + " using 1:2", "lines lw 1.6 dt " + style.dash + colour(style), "");
    add("$" + name_of("val", g) + " using 1:2", "points ps 0.7" + points, "");
    add("$" + name_of("end", g) + " using 1:2", "points" + point_size(comparison) + points, "");
  }
  for (std::size_t g = 0; g < groups; g++) {
    const Style style = style_of(g);
    add("keyentry", "linespoints lw 1.6 ps 0.9 dt " + style.dash + " pt " + std::to_string(style.point) + colour(style),
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
                       " using 1:3:4 with filledcurves fs transparent solid 0.13 noborder" + colour(style_of(g)) +
                       " notitle");
  elements.push_back("0 with lines lw 1.6" + colour(style_of(0)) + " title " +
                     gnuplot_text(comparison.groups.front().label));
  for (std::size_t g = 1; g < comparison.groups.size(); g++) {
    const Style style = style_of(g);
    const std::string look = " pt " + std::to_string(style.point) + colour(style);
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

// Places one plot, given in pixels from the top left of a picture.
struct Layout {
  int width, height;

  std::string panel(int top, int bottom) const {
    auto from_bottom = [&](int y) { return number(1 - static_cast<double>(y) / height); };
    auto from_left = [&](int x) { return number(static_cast<double>(x) / width); };
    return "set tmargin at screen " + from_bottom(top) + "\nset bmargin at screen " + from_bottom(bottom) +
           "\nset lmargin at screen " + from_left(kLeftMargin) + "\nset rmargin at screen " +
           from_left(kLeftMargin + kPlotWidth) + "\nset key at screen " + from_left(kLeftMargin + kPlotWidth + 15) +
           ", screen " + from_bottom(top) + " left top Left reverse vertical maxcols 1\n";
  }
};

}  // namespace

std::string picture_script(const Comparison& comparison, const std::string& terminal) {
  const Curves curves = curves_of(comparison);
  const bool differences = comparison.has_baseline && comparison.groups.size() > 1;

  std::size_t longest = std::max(smoothing_label(comparison).size(), difference_key_title(comparison).size());
  for (const Group& group : comparison.groups)
    longest = std::max(longest, differences ? difference_label(group).size() : group.label.size());
  const int panel_height = std::max(350, kLine * (static_cast<int>(comparison.groups.size()) + 6));
  const int top = 25, gap = 65, below = 65;
  const Layout layout{kLeftMargin + kPlotWidth + 70 + kCharacter * static_cast<int>(longest),
                      top + panel_height + (differences ? gap + panel_height : 0) + below};

  std::ostringstream script;
  script << "set encoding utf8\nset minussign\nset terminal " << terminal << " size " << layout.width << ","
         << layout.height << " noenhanced font 'Helvetica,13' background rgb 'white'\n"
         << data_blocks(comparison, curves) << "set multiplot\nset border 3 lw 1 lc rgb '#444444'\n"
         << "set tics nomirror out\nset grid lc rgb '#DDDDDD' lw 0.6 dt solid\nset xrange [0:"
         << number(std::max(1.0, curves.most_tokens) * (1 + kEndSpace) / curves.unit.tokens) << "]\n"
         << layout.panel(top, top + panel_height) << "set xlabel " << gnuplot_text(differences ? "" : curves.unit.label)
         << " offset 0,0.6\nset ylabel 'loss (nats per token)' offset 0.8,0\nset yrange "
         << range_text(loss_range(comparison, curves)) << "\n"
         << losses_plot(comparison);
  if (differences) {
    const int start = top + panel_height + gap;
    const Range range = difference_range(comparison, curves);
    script << layout.panel(start, start + panel_height) << "set key title "
           << gnuplot_text(difference_key_title(comparison)) << " left\nset xlabel " << gnuplot_text(curves.unit.label)
           << " offset 0,0.6\nset ylabel "
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
  script << "set encoding utf8\nset terminal dumb size " << columns << "," << rows << " noenhanced\n"
         << data_blocks(comparison, curves)
         << "set tics nomirror\nset key bmargin center horizontal samplen 2 width 3\nset xrange [0:"
         << number(std::max(1.0, curves.most_tokens) * 1.02 / curves.unit.tokens) << "]\nset xlabel '"
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

namespace {

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
  rows = std::max(rows, 20 + static_cast<int>(comparison.groups.size()) / 3);  // of which the legend takes a third
  return run_gnuplot(text_script(comparison, columns, rows));
}

TerminalSize terminal_size() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return {};
  return {size.ws_col, size.ws_row};
}
