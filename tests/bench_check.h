// Regressions made visible: the ratios of a benchmark (fractions of a roof, one thing over another) against those of a
// committed baseline. Ratios, because absolute times of one machine differ by the minute.
#pragma once

#include <string>

// Compares the ratios in `results`, a file that bench wrote, with those in `baseline`, on the terminal. Returns the exit
// code: 1 where one is worse by more than the baseline's tolerance. On another machine than the baseline's it shows them
// and returns 0. Error where a file cannot be read or lacks a field.
int check_against_baseline(const std::string& results, const std::string& baseline);

// Overwrites `baseline` with the ratios in `results`; the tolerance stays.
void write_baseline(const std::string& results, const std::string& baseline);
