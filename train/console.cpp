#include "train/console.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "data/printable.h"

std::string with_commas(uint64_t n) {
  std::string digits = std::to_string(n);
  for (int i = int(digits.size()) - 3; i > 0; i -= 3) digits.insert(i, ",");
  return digits;
}

std::string number_text(double x) {
  char text[40];
  std::snprintf(text, sizeof text, "%g", x);
  return text;
}

std::string clock_text(double seconds) {
  const long s = long(std::max(0.0, seconds) + 0.5);
  char text[40];
  if (s >= 3600)
    std::snprintf(text, sizeof text, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
  else
    std::snprintf(text, sizeof text, "%ld:%02ld", s / 60, s % 60);
  return text;
}

void print_fact(const std::string& name, const std::string& text) {
  std::printf("%-12s %s\n", name.c_str(), printable(text).c_str());
  std::fflush(stdout);
}

Progress::Progress() : terminal_(isatty(STDOUT_FILENO)) {}

void Progress::header() {
  std::printf("\n%8s  %12s  %10s  %9s  %9s  %8s  %9s\n", "update", "loss [nats]", "rate", "gradient", "time [ms]",
              "tokens/s", "left");
}

void Progress::step(const StepLine& line, bool logged) {
  clear_bar();
  const std::string left = clock_text(line.seconds_left);
  if (logged)
    std::printf("%8llu  %12.4f  %10.2e  %9.3f  %9.1f  %8.0f  %9s\n", (unsigned long long)line.step, line.loss, line.lr,
                line.grad_norm, line.dt_ms, line.tokens_per_s, left.c_str());
  if (terminal_ && line.step < line.steps) {
    constexpr int kWidth = 40;
    const int done = int(kWidth * line.step / line.steps);
    std::printf("[%s%s] %llu of %llu, %s left", std::string(done, '#').c_str(), std::string(kWidth - done, '.').c_str(),
                (unsigned long long)line.step, (unsigned long long)line.steps, left.c_str());
    bar_shown_ = true;
  }
  std::fflush(stdout);
}

void Progress::note(const std::string& text) {
  clear_bar();
  std::printf("%s\n", text.c_str());
  std::fflush(stdout);
}

void Progress::clear_bar() {
  if (bar_shown_) std::printf("\r\033[K");
  bar_shown_ = false;
}
