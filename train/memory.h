// How much memory there is, and how much this process has used.
#pragma once

#include <cstddef>
#include <string>

// Bytes that can still be allocated without swapping: Linux's MemAvailable, at most what the process's cgroups (version
// 1 and 2) leave free, where cached file pages count as free, and at most what memory_below_limits() leaves once blocks
// are rounded to huge pages. On macOS the memory of the machine. The largest size_t where the system does not tell.
// Paths are read below `root`, "" on a real machine.
size_t available_memory_bytes(const std::string& root = "");

// Bytes of address space that the process's limits (ulimit -v, ulimit -d) leave free. Stacks of threads take some.
size_t memory_below_limits(const std::string& root = "");

// The most bytes of physical memory that this process has held so far. On Linux without the pages of files that it maps
// now, the program's own and token files, which the system can drop and read again.
size_t peak_memory_bytes();

// "512 bytes", "1.5 KiB", "23.4 MiB", "6.0 GiB".
std::string format_bytes(size_t bytes);
