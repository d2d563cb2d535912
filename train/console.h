// What the terminal shows: aligned "name  text" lines, numbers for people, and a line per logged step with a bar on it.
#pragma once

#include <cstdint>
#include <string>

// "1,234,567".
std::string with_commas(uint64_t n);

// Up to six digits: "0.002", "1e-05".
std::string number_text(double x);

// "1:02:03", "4:05".
std::string clock_text(double seconds);

// "name         text" on stdout.
void print_fact(const std::string& name, const std::string& text);

struct StepLine {
  uint64_t step, steps;
  double loss, lr, grad_norm, dt_ms, tokens_per_s, seconds_left;
};

// Shows training as it runs. On a terminal the last line is a bar that is redrawn in place at every update; elsewhere
// only logged steps are printed.
class Progress {
 public:
  Progress();
  void header();  // the columns and their units
  void step(const StepLine& line, bool logged);
  void note(const std::string& text);  // a line of its own between the steps

 private:
  void clear_bar();
  bool terminal_, bar_shown_ = false;
};
