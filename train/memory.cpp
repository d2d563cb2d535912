#include "train/memory.h"

#include <sys/resource.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <sstream>

#include "train/cgroup.h"

#ifdef __APPLE__
#include <sys/sysctl.h>
#endif

namespace {

// Address space that a program takes beyond what it plans: its blocks are aligned to huge pages of 2 MiB, and so are
// their sizes, at both of which the C library is generous.
constexpr size_t kRounding = size_t(32) << 20;

// The number after `key` in lines such as "MemAvailable:   123 kB" or "inactive_file 456"; 0 where there is none.
uint64_t number_after(const std::string& text, const std::string& key) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string name;
    uint64_t number = 0;
    if (words >> name >> number && name == key) return number;
  }
  return 0;
}

// What the cgroup in `folder` leaves free; SIZE_MAX where it sets no limit ("max", or a version-1 limit near 2^63).
size_t free_in_cgroup(const std::string& folder) {
  std::string limit_text = text_of_file(folder + "/memory.max");
  std::string used_text = text_of_file(folder + "/memory.current");
  std::string prefix;
  if (limit_text.empty()) {  // version 1, where only the total_ numbers include the groups below
    limit_text = text_of_file(folder + "/memory.limit_in_bytes");
    used_text = text_of_file(folder + "/memory.usage_in_bytes");
    prefix = "total_";
  }
  uint64_t limit = 0, used = 0;
  if (!(std::istringstream(limit_text) >> limit) || limit > uint64_t(1) << 60) return SIZE_MAX;
  std::istringstream(used_text) >> used;
  std::string stat = text_of_file(folder + "/memory.stat");
  uint64_t cached = number_after(stat, prefix + "inactive_file") + number_after(stat, prefix + "active_file");
  used -= std::min(used, cached);
  return limit > used ? limit - used : 0;
}

// What a limit of the process leaves free, in a line of `limits` such as "Max data size   1048576   unlimited   bytes";
// SIZE_MAX where there is none ("unlimited").
size_t free_below_limit(const std::string& limits, const std::string& name, uint64_t used) {
  const size_t at = limits.find(name);
  uint64_t limit = 0;
  if (at == std::string::npos || !(std::istringstream(limits.substr(at + name.size())) >> limit)) return SIZE_MAX;
  return limit > used ? limit - used : 0;
}

}  // namespace

size_t available_memory_bytes(const std::string& root) {
  size_t bytes = SIZE_MAX;
#ifdef __APPLE__
  uint64_t installed = 0;
  size_t size = sizeof installed;
  if (sysctlbyname("hw.memsize", &installed, &size, nullptr, 0) == 0) bytes = installed;
#endif
  if (uint64_t kib = number_after(text_of_file(root + "/proc/meminfo"), "MemAvailable:")) bytes = kib * 1024;
  for (const std::string& folder : cgroup_folders("memory", root)) bytes = std::min(bytes, free_in_cgroup(folder));
  const size_t address_space = memory_below_limits(root);
  return address_space == SIZE_MAX ? bytes : std::min(bytes, address_space - std::min(address_space, kRounding));
}

size_t memory_below_limits(const std::string& root) {
  const std::string limits = text_of_file(root + "/proc/self/limits"),
                    status = text_of_file(root + "/proc/self/status");
  auto used = [&](const char* key) { return number_after(status, key) * 1024; };
  return std::min(free_below_limit(limits, "Max address space", used("VmSize:")),
                  free_below_limit(limits, "Max data size", used("VmData:")));
}

size_t peak_memory_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
#ifdef __APPLE__
  return size_t(usage.ru_maxrss);  // bytes
#else
  const uint64_t of_files = number_after(text_of_file("/proc/self/status"), "RssFile:");
  return size_t(usage.ru_maxrss - std::min<uint64_t>(of_files, usage.ru_maxrss)) * 1024;  // KiB
#endif
}

std::string format_bytes(size_t bytes) {
  if (bytes < 1024) return std::to_string(bytes) + (bytes == 1 ? " byte" : " bytes");
  const char* units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = double(bytes) / 1024;
  int unit = 0;
  while (value >= 1023.95 && unit < 5) value /= 1024, unit++;  // 1023.95 would be printed as 1024.0
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %s", value, units[unit]);
  return text;
}
