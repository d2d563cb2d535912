// Files that are read as a whole: config.json, tokens.json, SHA256SUMS.
#pragma once

#include <cstdint>
#include <string>

constexpr uint64_t kMostSmallFileBytes = 16 << 20;

// The content. Error unless it is a regular file of at most kMostSmallFileBytes that can be read.
std::string read_small_file(const std::string& path);
