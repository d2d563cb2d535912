// How everything in the benchmark is timed: candidates run in turn, A B C A B C ..., so that a disturbance hits all of them
// alike and their ratios survive it. The best time describes the hardware, the median describes the day.
#pragma once

#include <functional>
#include <vector>

struct Timing {
  double best = 0, median = 0;  // ms a run
  size_t samples = 0;

  // Over 1.3 the machine had something else to do.
  double disturbance() const { return best > 0 ? median / best : 1; }
};

// How long to measure. At least kLeastRounds rounds; then until `rounds` are done or `seconds` have passed.
struct Patience {
  int rounds = 25;
  double seconds = 5;
  int least = 3;
};

struct Candidate {
  std::function<void()> run;
  double pause_ms = 0;                 // after a sample, while threads of a library stop spinning
  std::function<void()> prepare = {};  // before a sample, not timed
};

// Times each candidate once a round. A sample of a run shorter than kSampleMs takes several runs, after one that is not
// timed and wakes caches and threads.
inline constexpr double kSampleMs = 5;
std::vector<Timing> interleave(const std::vector<Candidate>& candidates, const Patience& patience);

double now_ms();
