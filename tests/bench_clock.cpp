#include "tests/bench_clock.h"

#include <algorithm>
#include <chrono>
#include <cmath>

double now_ms() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

namespace {

double ms_a_run(const Candidate& candidate, size_t runs) {
  double start = now_ms();
  for (size_t i = 0; i < runs; i++) candidate.run();
  return (now_ms() - start) / double(runs);
}

Timing timing_of(std::vector<double> ms) {
  std::sort(ms.begin(), ms.end());
  size_t n = ms.size();
  return {ms[0], n % 2 == 1 ? ms[n / 2] : (ms[n / 2 - 1] + ms[n / 2]) / 2, n};
}

// How many runs make a sample of each candidate; the first runs also touch all memory.
std::vector<size_t> runs_a_sample(const std::vector<Candidate>& candidates) {
  std::vector<size_t> runs;
  for (const Candidate& candidate : candidates) {
    if (candidate.prepare) candidate.prepare();
    double once = ms_a_run(candidate, 1);
    if (once < 10 * kSampleMs) once = ms_a_run(candidate, 1);  // the first may have waited for memory
    runs.push_back(size_t(std::clamp(std::ceil(kSampleMs / std::max(once, 1e-6)), 1.0, 1e6)));
  }
  return runs;
}

// One sample of each candidate, added to its list.
void measure_round(const std::vector<Candidate>& candidates, const std::vector<size_t>& runs,
                   std::vector<std::vector<double>>& ms) {
  for (size_t i = 0; i < candidates.size(); i++) {
    const Candidate& candidate = candidates[i];
    if (candidate.prepare) candidate.prepare();
    if (runs[i] > 1) candidate.run();
    ms[i].push_back(ms_a_run(candidate, runs[i]));
    for (const double end = now_ms() + candidate.pause_ms; now_ms() < end;) {  // awake, so that the clock stays high
    }
  }
}

std::vector<Timing> measure(const std::vector<Candidate>& candidates, const std::vector<size_t>& runs,
                            const Patience& patience) {
  std::vector<std::vector<double>> ms(candidates.size());
  const double start = now_ms();
  for (int round = 0; round < patience.rounds; round++) {
    if (round >= patience.least && now_ms() - start > 1000 * patience.seconds) break;
    measure_round(candidates, runs, ms);
  }
  std::vector<Timing> timings;
  for (auto& samples : ms) timings.push_back(timing_of(std::move(samples)));
  return timings;
}

}  // namespace

std::vector<Timing> interleave(const std::vector<Candidate>& candidates, const Patience& patience) {
  const auto runs = runs_a_sample(candidates);
  for (int repeats = patience.repeats;; repeats--) {
    const double start = now_ms();
    auto timings = measure(candidates, runs, patience);
    bool disturbed = false;
    for (size_t i = 0; i < candidates.size(); i++)
      disturbed |= candidates[i].is_probe && timings[i].disturbance() > kDisturbedProbe;
    if (!disturbed || repeats == 0 || now_ms() - start > kLongMs) return timings;
  }
}
