// How the CPU kernels share work: jobs of fixed size are handed out as threads become free. What a job computes depends
// on its number alone and every result has one owner, so the bits do not depend on the number of threads.
#pragma once

#include <algorithm>
#include <cstddef>

#include "kernels/cpu/subnormals.h"

namespace cpu {

inline size_t divide_up(size_t n, size_t by) { return (n + by - 1) / by; }
inline size_t round_up(size_t n, size_t to) { return divide_up(n, to) * to; }

// Length of the blocks of [0, n): at least `least`, and where n is large so long that there are kMostBlocks. That is
// enough for threads to share evenly, and memory is read fastest in long pieces.
inline constexpr size_t kMostBlocks = 64;
inline size_t block_length(size_t n, size_t least) { return std::max(least, divide_up(n, kMostBlocks)); }

// Calls job(0) .. job(jobs - 1), each once, on any thread. Subnormal numbers are 0 in jobs, and only there.
template <class F>
void parallel_jobs(size_t jobs, F&& job) {
#pragma omp parallel if (jobs > 1)
  {
    const SubnormalsAsZero in_this_thread;
#pragma omp for schedule(dynamic)
    for (size_t i = 0; i < jobs; i++) job(i);
  }
}

// Calls job(begin, end) for consecutive pieces of [0, n), each of `block` elements but for the last.
template <class F>
void parallel_blocks(size_t n, size_t block, F&& job) {
  parallel_jobs(divide_up(n, block), [&](size_t i) { job(i * block, std::min(n, (i + 1) * block)); });
}

// The most threads that jobs may run on. Only how work is cut may depend on it, never the order of additions.
size_t max_threads();

// Allocates scratch memory, `floats` for each of the threads that jobs run on and `shared_floats` for all of them, so that
// no kernel has to. Throws std::bad_alloc where the system refuses.
void reserve_scratch(size_t floats, size_t shared_floats);

// Scratch memory that all threads of a kernel share; for the thread that hands out the jobs. At least `floats` long,
// aligned to 64 bytes; its content is not kept between kernels. null for 0 floats.
float* shared_scratch(size_t floats);

// The same for the thread that calls, alone.
float* scratch(size_t floats);

}  // namespace cpu
