// Regressions made visible: the ratios of a benchmark (fractions of a roof, one thing over another) against those of a
// committed baseline. Ratios, because absolute times of one machine differ by the minute.
#pragma once

#include <string>
#include <vector>

// Compares the ratios in `results`, files that bench wrote on this machine, with those in `baseline`, on the terminal. The
// best of several results counts: a neighbour's load lasts for minutes and moves some ratios by a third. Returns the exit
// code: 1 where one is worse by more than the baseline's tolerance. On another machine than the baseline's it shows them
// and returns 0. Error where a file cannot be read or lacks a field.
int check_against_baseline(const std::vector<std::string>& results, const std::string& baseline);

// Overwrites `baseline` with the ratios in `results`, the worst of several: what the machine always reaches. The tolerance
// stays.
void write_baseline(const std::vector<std::string>& results, const std::string& baseline);
