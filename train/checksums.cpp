#include "train/checksums.h"

#include "data/error.h"
#include "data/sha256.h"

std::map<std::string, std::string> parse_checksums(std::string_view text, const std::string& path) {
  std::map<std::string, std::string> sums;
  for (size_t begin = 0, line = 1; begin < text.size(); line++) {
    size_t end = text.find('\n', begin);
    std::string sum(text.substr(begin, 64));
    std::string name(end == text.npos || end < begin + 67 ? "" : text.substr(begin + 66, end - begin - 66));
    if (name.empty() || !is_sha256(sum) || text.compare(begin + 64, 2, "  ") != 0 ||
        name.find_first_of("/\\") != std::string::npos || printable(name) != name || !sums.emplace(name, sum).second)
      throw Error("'" + path + "' is damaged: line " + std::to_string(line) +
                  " is not 64 hexadecimal digits, two spaces and a file name of its own");
    begin = end + 1;
  }
  return sums;
}
