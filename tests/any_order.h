// Whether a result is the same, bit for bit, in whatever order parallel work is done.
#pragma once

#ifdef _OPENMP
#include <omp.h>
#endif

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/cuda/runtime.h"
#include "model/backend.h"
#include "tests/compare.h"
#include "tests/cuda_emulator/emulator.h"

// A test program for CUDA has the emulator or runs on a GPU; only its link decides.
namespace emu {
[[gnu::weak]] Options& options();
[[gnu::weak]] Options parse_options(const std::string& text);
}  // namespace emu

// What the emulator is to try: the order of blocks and threads, and whether threads are interrupted between barriers.
inline constexpr const char* kSchedules[] = {"schedule=forward", "schedule=reverse", "schedule=random seed=1",
                                             "schedule=random seed=2 preempt=64"};

// On the CPU: how many threads share the work. Counts that divide no shape, and more than there are cores or jobs.
inline constexpr int kThreadCounts[] = {1, 2, 3, 7, 16};

// Calls run() in orders that differ: on the CPU by kThreadCounts, in the emulator by kSchedules. A GPU has an order of
// its own each time; it runs twice.
template <class F>
void in_every_order(F run) {
  if constexpr (backend::kOnHost) {
#ifdef _OPENMP
    const int before = omp_get_max_threads();
    for (int threads : kThreadCounts) {
      omp_set_num_threads(threads);
      run();
    }
    omp_set_num_threads(before);
    return;
#endif
  } else if (emu::options) {
    const emu::Options before = emu::options();
    for (const char* schedule : kSchedules) {
      const emu::Options chosen = emu::parse_options(schedule);
      emu::options().schedule = chosen.schedule;
      emu::options().seed = chosen.seed;
      emu::options().preempt = chosen.preempt;
      run();
      cuda::synchronize();  // the emulator's kernels run there at the latest
    }
    emu::options() = before;
    return;
  }
  run();
  run();
}

// For results in double: the same bits as twice as many floats.
inline std::vector<float> bits_of(const std::vector<double>& x) {
  std::vector<float> halves(2 * x.size());
  if (!x.empty()) std::memcpy(halves.data(), x.data(), x.size() * sizeof(double));
  return halves;
}

// Whether run() returns the same bits (std::vector<float>) in every one of them.
template <class F>
bool same_for_any_order(F run) {
  std::vector<std::vector<float>> results;
  in_every_order([&] { results.push_back(run()); });
  return std::all_of(results.begin(), results.end(), [&](const auto& result) { return same_bits(result, results[0]); });
}
