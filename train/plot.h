// Draws a comparison with gnuplot, which is an optional program: nothing else needs it.
#pragma once

#include <optional>
#include <string>

#include "train/comparison.h"

// A picture for print or the web. Above: losses (training loss raw and smoothed, validation loss). Below, if there is a
// baseline: validation loss minus the baseline's, with the 95 % band where there are several seeds. `path` ends in .svg
// or .png, which says what is returned: the file's content, or nothing if gnuplot is not installed. Failure if gnuplot
// fails.
std::optional<std::string> draw_picture(const Comparison& comparison, const std::string& path);

// What gnuplot is given for them; `terminal` is gnuplot's name of the kind of picture.
std::string picture_script(const Comparison& comparison, const std::string& terminal);
std::string text_script(const Comparison& comparison, int columns, int rows);

// Validation losses, and their differences from the baseline, as text for a terminal of that size.
std::optional<std::string> draw_text(const Comparison& comparison, int columns, int rows);

struct TerminalSize {
  int columns = 80, rows = 24;
};
TerminalSize terminal_size();  // of stdout; 80 x 24 where it is none
