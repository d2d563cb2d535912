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

// How long to measure: `least` rounds, then until `rounds` are done or `seconds` have passed.
struct Patience {
  int rounds = 25;
  double seconds = 5;
  int least = 3;
  int repeats = 2;  // how often again where the machine was disturbed meanwhile
};

struct Candidate {
  std::function<void()> run;
  double pause_ms = 0;                 // after a sample, while threads of a library stop spinning
  std::function<void()> prepare = {};  // before a sample, not timed
  bool is_probe = false;               // always the same work on registers alone: what slows it disturbs everything
};

// Times each candidate once a round. A sample of a run shorter than kSampleMs takes several runs, after one that is not
// timed and wakes caches and threads. Where a probe's median is over kDisturbedProbe times its best, what is measured in
// less than kLongMs is measured again: ratios to a disturbed roof would be too high.
inline constexpr double kSampleMs = 5, kDisturbedProbe = 1.2, kLongMs = 15000;
std::vector<Timing> interleave(const std::vector<Candidate>& candidates, const Patience& patience);

double now_ms();
