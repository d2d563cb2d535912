#include "tests/bench_threads.h"

#include <algorithm>
#include <filesystem>
#include <string>
#ifdef __linux__
#include <sched.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#endif

#if defined(__linux__) && defined(_OPENMP)

namespace {

void bind(int thread, const std::vector<int>& cpus) {  // 0: the calling thread
  cpu_set_t mask;
  CPU_ZERO(&mask);
  for (int cpu : cpus) CPU_SET(cpu, &mask);
  sched_setaffinity(thread, sizeof mask, &mask);
}

}  // namespace

BoundThreads::BoundThreads() {
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) return;  // more CPUs than a cpu_set_t holds
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
    if (CPU_ISSET(cpu, &mask)) cpus_.push_back(cpu);
#pragma omp parallel
  bind(0, {cpus_[size_t(omp_get_thread_num()) % cpus_.size()]});
}

BoundThreads::~BoundThreads() {
  if (cpus_.empty()) return;
#pragma omp parallel
  bind(0, cpus_);
}

std::vector<int> BoundThreads::threads() {
  std::vector<int> ids;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task"))
    ids.push_back(std::stoi(entry.path().filename()));
  std::sort(ids.begin(), ids.end());
  return ids;
}

void BoundThreads::bind_new(const std::vector<int>& before) {
  size_t next = 1;
  for (int thread : threads())
    if (!cpus_.empty() && !std::binary_search(before.begin(), before.end(), thread))
      bind(thread, {cpus_[next++ % cpus_.size()]});
}

#else

BoundThreads::BoundThreads() = default;
BoundThreads::~BoundThreads() = default;
std::vector<int> BoundThreads::threads() { return {}; }
void BoundThreads::bind_new(const std::vector<int>&) {}

#endif
