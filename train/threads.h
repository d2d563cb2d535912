// How many threads to use, and why.
#pragma once

#include <string>
#include <vector>

inline constexpr int kMostThreads = 1024;

struct ThreadCount {
  int threads;
  std::string reason;  // "2 physical cores in the affinity mask"
};

// Chooses the number of threads, starts them, and returns it for the banner. `asked` is --threads, 0 where it is not
// given. Then OMP_NUM_THREADS counts, then the physical cores in the affinity mask, at most the cgroup's CPU quota: two
// threads on one core, or more threads than quota, make these kernels slower. What the user asks for is not capped.
// Error where OMP_NUM_THREADS is no number, or where the process's limits leave no room for the threads' stacks. Built
// without OpenMP the answer is 1.
ThreadCount set_threads(int asked);

// Makes threads that wait for work sleep after some microseconds. By default they spin, for milliseconds (libgomp) or
// more (libomp); where another process wants a core, spinning takes from it what the working thread needs: training ran
// 5 times slower beside a compiler. libgomp reads its environment before main, so the program is started again, once,
// with the variable set; call this first in main. OMP_WAIT_POLICY or GOMP_SPINCOUNT in the environment go before it.
void let_waiting_threads_sleep(char** argv);

// The parts, each testable alone. Paths are read below `root`, "" on a real machine.

// The rule above. `environment` is OMP_NUM_THREADS or null; `quota` is in cores, 0 for none.
ThreadCount choose_threads(int asked, const char* environment, int cores, double quota);

// Physical cores among these logical CPUs; CPUs whose topology is unknown count as one core each.
int physical_cores(const std::vector<int>& cpus, const std::string& root = "");

// The tightest CPU quota of the process's cgroups (version 1 and 2), in cores; 0 for none.
double cpu_quota(const std::string& root = "");
