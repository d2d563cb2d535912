// The inputs of tests/fuzz/corpus, without libFuzzer: each of them keeps every promise of its fuzz target.
#include <algorithm>
#include <filesystem>

#include "tests/catch.h"
#include "tests/fuzz/fuzz.h"
#include "tests/temp_dir.h"

namespace {

// The folder is in the repository, from whose root the tests run.
std::vector<std::string> inputs_of(const std::string& target) {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator("tests/fuzz/corpus/" + target))
    paths.push_back(entry.path().string());
  std::sort(paths.begin(), paths.end());
  return paths;
}

void replay(const std::string& target, void (*fuzz)(std::string_view)) {
  const std::vector<std::string> paths = inputs_of(target);
  CHECK(paths.size() > 5);
  for (const std::string& path : paths) {
    INFO(path);
    CHECK_NOTHROW(fuzz(read_file(path)));
  }
}

}  // namespace

#define ATTNORM_REPLAY(name) \
  TEST_CASE("fuzz inputs of " #name, "[core][fuzz]") { replay(#name, fuzz_##name); }
EVERY_FUZZ_TARGET(ATTNORM_REPLAY)
