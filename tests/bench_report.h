// Where results go: an aligned table for people, and one JSON object a line for programs.
#pragma once

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/bench_clock.h"

// The machine and the build, as the first line of the table and of the file have them.
nlohmann::ordered_json machine_json();

// What every record has, null where it means nothing. Records may have more.
inline constexpr const char* kRecordFields[] = {
    "bench",     "model",        "B",      "T",           "normalizer",    "precision", "threads", "ms_best",
    "ms_median", "tokens_per_s", "gflops", "roof_gflops", "roof_fraction", "peak_bytes"};

class Report {
 public:
  Report(const std::string& path, int threads);  // Error where the file cannot be written

  // A record with every field; bench and threads are set.
  nlohmann::ordered_json record(const std::string& bench) const;
  nlohmann::ordered_json record(const std::string& bench, const Timing& timing);  // and notes a disturbance

  void write(const nlohmann::ordered_json& record);  // adds a line to the file

  // Starts a section of the table. The end of the one before says if the machine was disturbed.
  void section(const std::string& title);
  void finish();

 private:
  void tell_disturbance();
  std::string path_;
  std::ofstream file_;
  int threads_;
  size_t timings_ = 0, disturbed_ = 0;
  double worst_ = 1;
};

// Sets gflops, roof_gflops and roof_fraction from the best time.
void set_gflops(nlohmann::ordered_json& record, double flop, double roof_gflops);

// For the table: `x` with so many digits after the point; "best (median)".
std::string fixed(double x, int digits);
std::string best_and_median(double best, double median, int digits);

// A row of the table: the first `left` cells aligned to the left, the others to the right.
class Table {
 public:
  Table(std::vector<int> widths, size_t left) : widths_(std::move(widths)), left_(left) {}
  void row(const std::vector<std::string>& cells) const;

 private:
  std::vector<int> widths_;
  size_t left_;
};
