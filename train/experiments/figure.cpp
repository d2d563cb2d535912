#include "train/experiments/figure.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "train/gnuplot.h"

namespace {

constexpr int kLeft = 95, kPlotWidth = 640, kPanelHeight = 310, kTop = 25, kGap = 70, kBelow = 65, kLine = 20;
constexpr int kCharacter = 8;  // pixels of a legend's letter

struct Range {
  double low = HUGE_VAL, high = -HUGE_VAL;
  bool is_empty() const { return !(low <= high); }
  void add(double value) {
    if (std::isfinite(value)) low = std::min(low, value), high = std::max(high, value);
  }
};

bool has_band(const Series& series) {
  return series.band &&
         std::any_of(series.y.begin(), series.y.end(), [](const Estimate& y) { return y.has_interval(); });
}

// Of the band, which is as wide as the line where there is no interval.
double lower_end(const Panel& panel, const Estimate& y) {
  return y.has_interval() ? std::max(y.mean - y.half_width, panel.y_least) : y.mean;
}

double upper_end(const Panel& panel, const Estimate& y) {
  return y.has_interval() ? std::min(y.mean + y.half_width, panel.y_most) : y.mean;
}

// What a panel shows of y, bands included; on a logarithmic axis that is what is above 0.
Range shown_range(const Panel& panel) {
  Range range;
  auto add = [&](double y) {
    if (!panel.log_y || y > 0) range.add(y);
  };
  for (const Series& series : panel.series)
    for (size_t i = 0; i < series.x.size(); i++) {
      if (series.x[i] < panel.y_from_x) continue;
      add(series.y[i].mean);
      if (has_band(series) && series.y[i].has_interval()) {
        add(lower_end(panel, series.y[i]));
        add(upper_end(panel, series.y[i]));
      }
    }
  if (panel.zero_line) add(0);
  return range;
}

Range y_range(const Panel& panel) {
  Range range = shown_range(panel);
  if (range.is_empty()) range = {0, 1};
  if (panel.log_y) return {range.low / 1.3, range.high * 1.3};
  const double margin = std::max(0.05 * (range.high - range.low), 1e-9);
  return {range.low - margin, range.high + margin};
}

// gnuplot's own labels of a logarithmic axis are powers of ten alone, of which there may be none.
std::string log_ticks(const Range& range) {
  const double decades = std::log10(range.high / range.low);
  std::string ticks;
  for (double power = std::floor(std::log10(range.low)); power <= std::log10(range.high); power++)
    for (int digit : {1, 2, 5}) {
      const double value = digit * std::pow(10, power);
      if ((digit > 1 && decades > 2) || value < range.low || value > range.high) continue;
      ticks += (ticks.empty() ? "" : ", ") + gnuplot_number(value);
    }
  return "set logscale y\nset ytics (" + ticks + ")\n";
}

std::string block_name(size_t panel, size_t series) {
  return "p" + std::to_string(panel) + "s" + std::to_string(series);
}

std::string rows_of(const Panel& panel, const Series& series) {
  std::string rows;
  for (size_t i = 0; i < series.x.size(); i++)
    rows += gnuplot_number(series.x[i]) + " " + gnuplot_number(series.y[i].mean) + " " +
            gnuplot_number(lower_end(panel, series.y[i])) + " " + gnuplot_number(upper_end(panel, series.y[i])) + "\n";
  return rows;
}

std::string title_of(const Series& series) {
  return series.label.empty() ? " notitle" : " title " + gnuplot_text(series.label);
}

std::string plot_of(const Panel& panel, size_t p) {
  std::vector<std::string> elements;
  if (panel.zero_line) elements.push_back("0 with lines lc rgb '#000000' lw 1 notitle");
  for (size_t s = 0; s < panel.series.size(); s++) {  // bands below every line
    const Series& series = panel.series[s];
    const std::string block = "$" + block_name(p, s), colour = line_colour(line_style(series.style), "D0");
    if (!has_band(series)) continue;
    elements.push_back(series.line ? block + " using 1:3:4 with filledcurves" + colour + " notitle"
                                   : block + " using 1:2:3:4 with yerrorbars pt 0 lw 1.5" +
                                         line_colour(line_style(series.style)) + " notitle");
  }
  for (size_t s = 0; s < panel.series.size(); s++) {
    const Series& series = panel.series[s];
    const LineStyle style = line_style(series.style);
    const std::string block = "$" + block_name(p, s) + " using 1:2";
    const std::string points = " pt " + std::to_string(style.point) + " ps 0.7";
    if (series.line)
      elements.push_back(block + (series.points ? " with linespoints" + points : " with lines") + line_colour(style) +
                         " lw 1.8 dt " + style.dash + title_of(series));
    else
      elements.push_back(block + " with points" + points + line_colour(style) + title_of(series));
  }
  return plot_command(elements);
}

size_t entries(const Panel& panel) {
  return size_t(std::count_if(panel.series.begin(), panel.series.end(),
                              [](const Series& series) { return !series.label.empty(); })) +
         !panel.legend_title.empty();
}

}  // namespace

std::string figure_script(std::vector<Panel> panels) {
  for (Panel& panel : panels) std::erase_if(panel.series, [](const Series& series) { return series.x.empty(); });
  std::erase_if(panels, [](const Panel& panel) {
    return panel.series.empty() || (panel.log_y && shown_range(panel).is_empty());
  });
  if (panels.empty()) return "";
  size_t longest = 0;
  std::vector<int> heights;
  for (const Panel& panel : panels) {
    longest = std::max(longest, panel.legend_title.size());
    for (const Series& series : panel.series) longest = std::max(longest, series.label.size());
    heights.push_back(std::max(kPanelHeight, kLine * int(entries(panel) + 2)));
  }
  const int right = kLeft + kPlotWidth;
  int height = kTop + kBelow - kGap;
  for (int each : heights) height += each + kGap;
  const Picture picture{right + 95 + kCharacter * int(longest), height};

  std::ostringstream script;
  script << picture.begin("svg");
  for (size_t p = 0; p < panels.size(); p++)
    for (size_t s = 0; s < panels[p].series.size(); s++)
      script << data_block(block_name(p, s), rows_of(panels[p], panels[p].series[s]));
  script << "set multiplot\n";
  int top = kTop;
  for (size_t p = 0; p < panels.size(); p++) {
    const Panel& panel = panels[p];
    script << picture.panel(kLeft, top, right, top + heights[p]) << picture.legend(right + 15, top) << "set key title "
           << gnuplot_text(panel.legend_title) << " left\n"
           << "set xlabel " << gnuplot_text(panel.x_label) << " offset 0,0.3\nset ylabel "
           << gnuplot_text(panel.y_label) << " offset 0.5,0\n"
           << (panel.log_x ? "set logscale x 2\n" : "unset logscale x\n")
           << (panel.log_y ? log_ticks(y_range(panel)) : "unset logscale y\nset ytics auto\n") << "set format y '%g'\n"
           << "unset arrow\nunset label\n";
    if (panel.x_names.empty()) {
      Range range;
      for (const Series& series : panel.series)
        for (double x : series.x) range.add(x);
      script << "set xtics auto\nset xrange "
             << (range.low < range.high ? gnuplot_range(range.low, range.high) : "[*:*]") << "\n";
    } else {
      script << "set xtics (";
      for (size_t i = 0; i < panel.x_names.size(); i++)
        script << (i ? ", " : "") << gnuplot_text(panel.x_names[i]) << " " << i;
      script << ")\nset xrange [-0.6:" << panel.x_names.size() - 1 << ".6]\n";
    }
    script << "set yrange " << gnuplot_range(y_range(panel).low, y_range(panel).high) << "\n";
    if (std::isfinite(panel.x_mark)) {
      const std::string x = gnuplot_number(panel.x_mark);
      script << "set arrow from " << x << ", graph 0 to " << x << ", graph 1 nohead dt (2,4) lc rgb '#666666'\n"
             << "set label " << gnuplot_text(panel.x_mark_label) << " at " << x
             << ", graph 0.96 offset 0.6,0 textcolor rgb '#444444'\n";
    }
    script << plot_of(panel, p);
    top += heights[p] + kGap;
  }
  script << "unset multiplot\n";
  return script.str();
}

size_t place_of(const std::string& name, const std::vector<std::string>& names) {
  return size_t(std::find(names.begin(), names.end(), name) - names.begin());
}

std::vector<Estimate> plain(const std::vector<double>& values) {
  std::vector<Estimate> result;
  for (double value : values) {
    Estimate estimate;
    estimate.count = 1;
    estimate.mean = value;
    result.push_back(estimate);
  }
  return result;
}
