#include "train/threads.h"

#include <pthread.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <set>
#include <sstream>
#include <thread>

#include "data/error.h"
#include "train/cgroup.h"
#include "train/memory.h"

#ifdef _OPENMP
#include <omp.h>
#endif
#ifdef __linux__
#include <sched.h>
#include <unistd.h>
#endif
#ifdef __APPLE__
#include <sys/sysctl.h>
#endif

namespace {

std::string counted(int n, const char* noun) { return std::to_string(n) + " " + noun + (n == 1 ? "" : "s"); }

#ifdef __linux__
constexpr int kMostCpus = 8192;  // the largest NR_CPUS of common kernels

// The logical CPUs that this process may run on. With OMP_PROC_BIND the OpenMP library has already bound this thread to
// one place, so the mask of the process is the union of all places.
std::vector<int> allowed_cpus() {
  std::vector<int> cpus;
#ifdef _OPENMP
  for (int place = 0; place < omp_get_num_places(); place++) {
    std::vector<int> ids(omp_get_place_num_procs(place));
    omp_get_place_proc_ids(place, ids.data());
    cpus.insert(cpus.end(), ids.begin(), ids.end());
  }
  if (!cpus.empty()) return cpus;
#endif
  size_t bytes = CPU_ALLOC_SIZE(kMostCpus);
  std::vector<cpu_set_t> mask(bytes / sizeof(cpu_set_t) + 1);
  if (sched_getaffinity(0, bytes, mask.data()) == 0)
    for (int cpu = 0; cpu < kMostCpus; cpu++)
      if (CPU_ISSET_S(cpu, bytes, mask.data())) cpus.push_back(cpu);
  return cpus;
}

// Takes back that this thread is bound to one place: a program that it starts would see nothing else.
[[maybe_unused]] void unbind() {
  size_t bytes = CPU_ALLOC_SIZE(kMostCpus);
  std::vector<cpu_set_t> mask(bytes / sizeof(cpu_set_t) + 1);
  for (int cpu : allowed_cpus()) CPU_SET_S(cpu, bytes, mask.data());
  sched_setaffinity(0, bytes, mask.data());  // may be refused: then the mask stays as it is
}
#endif

// Physical cores that this process may use; at least 1.
int machine_cores() {
  int cores = 0;
#if defined(__linux__)
  cores = physical_cores(allowed_cpus());
#elif defined(__APPLE__)
  size_t size = sizeof cores;
  if (sysctlbyname("hw.physicalcpu", &cores, &size, nullptr, 0) != 0) cores = 0;
#endif
  return cores > 0 ? cores : std::max(1, int(std::thread::hardware_concurrency()));
}

#ifdef _OPENMP
// Starts the threads, so that their stacks are taken before anyone asks how much memory is free. OpenMP's libraries end
// the program where they get no stack, so limits are looked at first.
void start_threads(const ThreadCount& choice) {
  pthread_attr_t attributes;
  size_t stack = 0;
  pthread_attr_init(&attributes);
  pthread_attr_getstacksize(&attributes, &stack);
  pthread_attr_destroy(&attributes);
  const size_t needed = stack * size_t(choice.threads - 1), available = memory_below_limits();
  if (needed > available)
    throw Error(std::to_string(choice.threads) + " threads (" + choice.reason + ") need " + format_bytes(needed) +
                " for their stacks, and the limits of this process leave " + format_bytes(available) +
                "; use fewer --threads or raise ulimit -v and -d");
  int started = 0;
#pragma omp parallel
#pragma omp atomic
  started++;
}
#endif

}  // namespace

int physical_cores(const std::vector<int>& cpus, const std::string& root) {
  std::set<std::string> cores;
  for (int cpu : cpus) {
    std::string folder = root + "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    std::string siblings = text_of_file(folder + "thread_siblings_list");  // the same text for all CPUs of a core
    cores.insert(siblings.empty() ? "cpu " + std::to_string(cpu) : siblings);
  }
  return int(cores.size());
}

double cpu_quota(const std::string& root) {
  double tightest = 0;
  for (const std::string& folder : cgroup_folders("cpu", root)) {
    std::string text = text_of_file(folder + "/cpu.max");  // version 2: "200000 100000" or "max 100000"
    if (text.empty())
      text = text_of_file(folder + "/cpu.cfs_quota_us") + " " + text_of_file(folder + "/cpu.cfs_period_us");
    double quota = 0, period = 0;  // microseconds; a quota of -1 is none
    if (std::istringstream(text) >> quota >> period && quota > 0 && period > 0)
      tightest = tightest > 0 ? std::min(tightest, quota / period) : quota / period;
  }
  return tightest;
}

ThreadCount choose_threads(int asked, const char* environment, int cores, double quota) {
  if (asked > 0) return {asked, "--threads"};
  if (environment && *environment) {  // one number, or one for each level of nested parallelism: "4,2"
    const char* comma = std::strchr(environment, ',');
    const char* last = comma ? comma : environment + std::strlen(environment);
    int threads = 0;
    auto [end, error] = std::from_chars(environment, last, threads);
    if (error != std::errc() || end != last || threads < 1 || threads > kMostThreads)
      throw Error(std::string("OMP_NUM_THREADS is '") + environment + "'; it must be an integer from 1 to " +
                  std::to_string(kMostThreads));
    return {threads, "OMP_NUM_THREADS"};
  }
  int most = quota > 0 ? std::max(1, int(std::ceil(quota))) : cores;
  if (most >= cores) return {cores, counted(cores, "physical core") + " in the affinity mask"};
  std::ostringstream reason;
  reason << "the cgroup's CPU quota of " << quota << " cores; " << counted(cores, "physical core")
         << " in the affinity mask";
  return {most, reason.str()};
}

ThreadCount set_threads(int asked) {
  const char* environment = std::getenv("OMP_NUM_THREADS");
  choose_threads(asked, environment, 1, 0);  // refuses what is no number before libomp is asked, which would abort
  ThreadCount choice = choose_threads(asked, environment, machine_cores(), cpu_quota());
#ifdef _OPENMP
  omp_set_dynamic(0);
  omp_set_num_threads(choice.threads);
  start_threads(choice);
  return choice;
#else
  std::string wanted = choice.threads > 1 ? "; it would use " + std::to_string(choice.threads) : "";
  return {1, "BUILT WITHOUT OpenMP, SO ONE CORE ONLY" + wanted + "; install OpenMP for this compiler and rebuild"};
#endif
}

void let_waiting_threads_sleep([[maybe_unused]] char** argv) {
#if defined(_OPENMP) && defined(__linux__)
  if (std::getenv("OMP_WAIT_POLICY") || std::getenv("GOMP_SPINCOUNT")) return;
#if defined(__clang__)
  kmp_set_blocktime(0);
#else
  setenv("GOMP_SPINCOUNT", "2000", 1);  // some ten microseconds: the pause between two kernels
  unbind();
  execv("/proc/self/exe", argv);  // returns only if it failed: then threads spin, slower but right
#endif
#endif
}
