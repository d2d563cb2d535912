#include "data/small_file.h"

#include <filesystem>
#include <fstream>

#include "data/error.h"

std::string read_small_file(const std::string& path) {
  std::error_code problem;
  if (!std::filesystem::is_regular_file(path, problem))
    throw Error("'" + path + "' does not exist or is not a regular file");
  const uint64_t size = std::filesystem::file_size(path, problem);
  if (!problem && size > kMostSmallFileBytes)
    throw Error("'" + path + "' has " + std::to_string(size) + " bytes; at most " +
                std::to_string(kMostSmallFileBytes) + " are allowed");
  std::ifstream file(path, std::ios::binary);
  std::string text(problem ? 0 : size, '\0');
  if (problem || !file.read(text.data(), std::streamsize(size))) throw Error("'" + path + "' cannot be read");
  return text;
}
