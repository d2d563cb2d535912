// gnuplot, an optional program that draws every picture: how scripts for it are written, and how it is run.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

// ---------------------------------------------------------------------------------------------- the look

// How one of several things is drawn, the same in every panel of a picture.
struct LineStyle {
  std::string colour;  // "0072B2"
  std::string dash;    // for gnuplot's dt
  int point;           // for gnuplot's pt
};

// Black and solid for number 0, the baseline; then Okabe and Ito's palette, which people with any colour vision tell
// apart, without its yellow, too light for lines on paper. No two of the first 132 others look the same.
LineStyle line_style(std::size_t number);

// " lc rgb '#0072B2'"; transparency in two hexadecimal digits, FF for invisible.
std::string line_colour(const LineStyle& style, const char* transparency = "00");

// ---------------------------------------------------------------------------------------------- parts of a script

// A number, NaN where it is not finite; infinity would be drawn at the edge. Scripts say: set datafile missing 'NaN'.
std::string gnuplot_number(double value);

// "[low:high]".
std::string gnuplot_range(double low, double high);

// A text as a single-quoted string.
std::string gnuplot_text(const std::string& text);

// Rows of numbers that plots name as $name. Each row ends with a newline.
std::string data_block(const std::string& name, const std::string& rows);

// A plot command of elements such as "$curve using 1:2 with lines".
std::string plot_command(const std::vector<std::string>& elements);

// A picture of that size in pixels, on which panels are placed.
struct Picture {
  int width, height;

  // The start of its script: text in UTF-8 without markup, thin axes at the left and below, a light grid. `terminal`: see
  // terminal_for().
  std::string begin(const std::string& terminal) const;

  // Places the axes of the next plot, in pixels from the top left.
  std::string panel(int left, int top, int right, int bottom) const;

  // Places the legend, one entry below the other, with its upper left corner there.
  std::string legend(int left, int top) const;
};

// ---------------------------------------------------------------------------------------------- running it

// Error unless `path` ends in a kind of picture that can be drawn: .svg or .png.
void check_picture_name(const std::string& path);

// gnuplot's name of that kind, for Picture::begin().
std::string terminal_for(const std::string& path);

// What gnuplot prints for the script; nothing if it is not installed. Failure if it fails.
std::optional<std::string> run_gnuplot(const std::string& script);
