#include "train/threads.h"

#include <cstdint>
#include <filesystem>
#include <vector>

#include "data/error.h"
#include "tests/catch.h"
#include "tests/temp_dir.h"
#include "train/memory.h"

#ifdef _OPENMP
#include <omp.h>
#endif

namespace {

// A machine made of files: set("/proc/self/cgroup", "0::/a\n").
struct FakeMachine : TempDir {
  std::string root() const { return path.string(); }
  void set(const std::string& name, const std::string& content) const {
    std::filesystem::create_directories(std::filesystem::path(root() + name).parent_path());
    write_file(root() + name, content);
  }
};

constexpr size_t kMiB = 1 << 20;

}  // namespace

TEST_CASE("--threads goes before OMP_NUM_THREADS, that before the cores, which the quota caps", "[core][threads]") {
  auto chosen = [](int asked, const char* environment, int cores, double quota) {
    ThreadCount choice = choose_threads(asked, environment, cores, quota);
    return std::to_string(choice.threads) + ": " + choice.reason;
  };
  CHECK(chosen(3, "5", 2, 1) == "3: --threads");
  CHECK(chosen(0, "5", 2, 1) == "5: OMP_NUM_THREADS");
  CHECK(chosen(0, "4,2", 2, 0) == "4: OMP_NUM_THREADS");
  CHECK(chosen(0, "", 2, 0) == "2: 2 physical cores in the affinity mask");
  CHECK(chosen(0, nullptr, 1, 0) == "1: 1 physical core in the affinity mask");
  CHECK(chosen(0, nullptr, 8, 1.5) == "2: the cgroup's CPU quota of 1.5 cores; 8 physical cores in the affinity mask");
  CHECK(chosen(0, nullptr, 8, 0.1) == "1: the cgroup's CPU quota of 0.1 cores; 8 physical cores in the affinity mask");
  CHECK(chosen(0, nullptr, 2, 16) == "2: 2 physical cores in the affinity mask");
  for (const char* wrong : {"0", "-1", "two", "4x", ",2", "99999999999", "2000"})
    CHECK_THROWS_AS(choose_threads(0, wrong, 2, 0), Error);
  CHECK_THROWS_WITH(choose_threads(0, "two", 2, 0), "OMP_NUM_THREADS is 'two'; it must be an integer from 1 to 1024");
}

TEST_CASE("hyper-threads of one core count once", "[core][threads]") {
  FakeMachine machine;
  for (int cpu = 0; cpu < 8; cpu++)
    machine.set("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list",
                std::to_string(cpu % 4) + "," + std::to_string(cpu % 4 + 4) + "\n");
  CHECK(physical_cores({0, 1, 2, 3, 4, 5, 6, 7}, machine.root()) == 4);
  CHECK(physical_cores({0, 4}, machine.root()) == 1);
  CHECK(physical_cores({1, 2, 6}, machine.root()) == 2);
  CHECK(physical_cores({1, 8, 9}, machine.root()) == 3);  // nothing is known of 8 and 9
  CHECK(physical_cores({}, machine.root()) == 0);
}

TEST_CASE("the tightest CPU quota of both cgroup versions counts", "[core][threads]") {
  SECTION("none") {
    FakeMachine machine;
    CHECK(cpu_quota(machine.root()) == 0);
    machine.set("/proc/self/cgroup", "0::/a/b\n");
    machine.set("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    CHECK(cpu_quota(machine.root()) == 0);
  }
  SECTION("version 2, also above the own group") {
    FakeMachine machine;
    machine.set("/proc/self/cgroup", "0::/a/b\n");
    machine.set("/sys/fs/cgroup/a/b/cpu.max", "400000 100000\n");
    CHECK(cpu_quota(machine.root()) == 4);
    machine.set("/sys/fs/cgroup/a/cpu.max", "150000 100000\n");
    CHECK(cpu_quota(machine.root()) == 1.5);
    machine.set("/sys/fs/cgroup/other/cpu.max", "10000 100000\n");
    CHECK(cpu_quota(machine.root()) == 1.5);
  }
  SECTION("version 1, in a container that sees its own group as the mount point") {
    FakeMachine machine;
    machine.set("/proc/self/cgroup", "5:cpuset:/x\n4:cpuacct,cpu:/docker/123\n0::/\n");
    machine.set("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
    machine.set("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    CHECK(cpu_quota(machine.root()) == 0);
    machine.set("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "250000\n");
    CHECK(cpu_quota(machine.root()) == 2.5);
  }
  SECTION("text that is none of this") {
    FakeMachine machine;
    machine.set("/proc/self/cgroup", "nonsense\n\n0:\n1:cpu:/../..\n");
    machine.set("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "many\n");
    CHECK(cpu_quota(machine.root()) == 0);
  }
}

TEST_CASE("set_threads tells OpenMP", "[core][threads]") {
  ThreadCount choice = set_threads(3);
#ifdef _OPENMP
  CHECK(choice.threads == 3);
  CHECK(omp_get_max_threads() == 3);
#else
  CHECK(choice.threads == 1);
  CHECK(choice.reason ==
        "BUILT WITHOUT OpenMP, SO ONE CORE ONLY; it would use 3; install OpenMP for this compiler and rebuild");
#endif
  CHECK(set_threads(0).threads >= 1);
}

TEST_CASE("available memory is MemAvailable or what the cgroup leaves", "[core][threads]") {
  FakeMachine machine;
  CHECK(available_memory_bytes(machine.root()) == SIZE_MAX);
  machine.set("/proc/meminfo", "MemTotal:  9000000 kB\nMemFree:  10 kB\nMemAvailable:    4096000 kB\n");
  CHECK(available_memory_bytes(machine.root()) == 4000 * kMiB);

  SECTION("version 2: cached file pages are free") {
    machine.set("/proc/self/cgroup", "0::/a\n");
    machine.set("/sys/fs/cgroup/a/memory.max", "max\n");
    CHECK(available_memory_bytes(machine.root()) == 4000 * kMiB);
    machine.set("/sys/fs/cgroup/a/memory.max", std::to_string(1000 * kMiB) + "\n");
    machine.set("/sys/fs/cgroup/a/memory.current", std::to_string(700 * kMiB) + "\n");
    CHECK(available_memory_bytes(machine.root()) == 300 * kMiB);
    machine.set("/sys/fs/cgroup/a/memory.stat", "anon 5\ninactive_file " + std::to_string(150 * kMiB) +
                                                    "\nactive_file " + std::to_string(50 * kMiB) + "\n");
    CHECK(available_memory_bytes(machine.root()) == 500 * kMiB);
    machine.set("/sys/fs/cgroup/a/memory.current", std::to_string(1300 * kMiB) + "\n");
    CHECK(available_memory_bytes(machine.root()) == 0);
  }
  SECTION("version 1: no limit is a number near 2^63") {
    machine.set("/proc/self/cgroup", "4:memory:/a\n");
    machine.set("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    machine.set("/sys/fs/cgroup/memory/memory.usage_in_bytes", "5\n");
    CHECK(available_memory_bytes(machine.root()) == 4000 * kMiB);
    machine.set("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", std::to_string(800 * kMiB) + "\n");
    machine.set("/sys/fs/cgroup/memory/a/memory.usage_in_bytes", std::to_string(600 * kMiB) + "\n");
    machine.set("/sys/fs/cgroup/memory/a/memory.stat",
                "inactive_file 7\ntotal_inactive_file " + std::to_string(100 * kMiB) + "\n");
    CHECK(available_memory_bytes(machine.root()) == 300 * kMiB);
  }
}

TEST_CASE("limits of the process count as memory that is free", "[core][threads]") {
  FakeMachine machine;
  auto set_limits = [&](const std::string& address_space, const std::string& data) {
    machine.set("/proc/self/limits",
                "Limit                     Soft Limit           Hard Limit           Units     \n"
                "Max stack size            8388608              unlimited            bytes     \n"
                "Max data size             " +
                    data +
                    "            unlimited            bytes\n"
                    "Max address space         " +
                    address_space + "           unlimited   bytes\n");
  };
  CHECK(memory_below_limits(machine.root()) == SIZE_MAX);
  set_limits("unlimited", "unlimited");
  machine.set("/proc/self/status", "Name:\ttrain\nVmPeak:\t  999999 kB\nVmSize:\t   51200 kB\nVmData:\t 20480 kB\n");
  CHECK(memory_below_limits(machine.root()) == SIZE_MAX);
  set_limits(std::to_string(150 * kMiB), "unlimited");
  CHECK(memory_below_limits(machine.root()) == 100 * kMiB);
  set_limits(std::to_string(150 * kMiB), std::to_string(50 * kMiB));
  CHECK(memory_below_limits(machine.root()) == 30 * kMiB);
  CHECK(available_memory_bytes(machine.root()) == 0);
  set_limits("unlimited", std::to_string(100 * kMiB));
  CHECK(available_memory_bytes(machine.root()) == 48 * kMiB);  // 100 - 20 in use - 32 for huge pages
  set_limits(std::to_string(5 * kMiB), "unlimited");
  CHECK(memory_below_limits(machine.root()) == 0);
}

TEST_CASE("peak memory grows with what is touched", "[core][threads]") {
  std::vector<char> touched(64 * kMiB, 1);
  CHECK(touched[peak_memory_bytes() % touched.size()] == 1);  // read, so that no compiler leaves the vector out
  CHECK(peak_memory_bytes() >= touched.size());
  CHECK(peak_memory_bytes() < size_t(1) << 44);
}

TEST_CASE("bytes are written with one digit and a binary unit", "[core][threads]") {
  CHECK(format_bytes(0) == "0 bytes");
  CHECK(format_bytes(1) == "1 byte");
  CHECK(format_bytes(1023) == "1023 bytes");
  CHECK(format_bytes(1536) == "1.5 KiB");
  CHECK(format_bytes(kMiB - 1) == "1.0 MiB");
  CHECK(format_bytes(23 * kMiB + 419430) == "23.4 MiB");
  CHECK(format_bytes(size_t(6) << 30) == "6.0 GiB");
}
