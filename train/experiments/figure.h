// Figures of curves: panels one below the other, each with a legend at its right.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "train/statistics.h"

struct Series {
  std::string label;  // in the legend; "" for none
  size_t style = 0;   // number for line_style(): the same for the same thing in every panel
  std::vector<double> x;
  std::vector<Estimate> y;
  bool line = true, points = false, band = true;  // band: the interval, where there is one
};

struct Panel {
  std::string x_label, y_label, legend_title;
  std::vector<Series> series;
  bool log_x = false, log_y = false, zero_line = false;
  double x_mark = std::numeric_limits<double>::quiet_NaN();  // a dotted vertical line
  std::string x_mark_label;
  // Only what lies from this x on decides the range of y: the fall of a loss at the start would flatten the rest.
  double y_from_x = -std::numeric_limits<double>::infinity();
  // What y can be at all, 0 to 1 for a share: intervals are cut off there.
  double y_least = -std::numeric_limits<double>::infinity(), y_most = std::numeric_limits<double>::infinity();
  std::vector<std::string> x_names;  // of x = 0, 1, ..., instead of numbers
};

// For gnuplot, as SVG. Series without points and panels without series are left out; "" where none is left.
std::string figure_script(std::vector<Panel> panels);

// The number of a name in a list, its size for a name that is not in it: the same thing gets the same style everywhere.
size_t place_of(const std::string& name, const std::vector<std::string>& names);

// Values without intervals.
std::vector<Estimate> plain(const std::vector<double>& values);
