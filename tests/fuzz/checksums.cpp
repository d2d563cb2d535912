// Input: a SHA256SUMS.
#include "train/checksums.h"
#include "data/sha256.h"
#include "tests/fuzz/fuzz.h"

void fuzz_checksums(std::string_view input) {
  std::map<std::string, std::string> sums;
  if (!accepts([&] { sums = parse_checksums(input, "F"); })) return;
  size_t bytes = 0;
  for (const auto& [name, sum] : sums) {
    const std::string line = sum + "  " + name + "\n";
    require(is_sha256(sum), "a sum is a SHA-256");
    require(is_printable(name) && name.find('/') == name.npos, "a name is one of the folder");
    require(input.find(line) != input.npos, "every line is there as sha256sum writes it");
    bytes += line.size();
  }
  require(bytes == input.size(), "nothing is passed over");
}
