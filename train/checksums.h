// SHA256SUMS: a line for each file, 64 hexadecimal digits, two spaces and its name, as `sha256sum -c` reads it.
#pragma once

#include <map>
#include <string>
#include <string_view>

// SHA-256 by file name. As strict as can be, so that any change to the file is noticed: `sha256sum` itself would take an
// upper-case digit for the same. `path` begins the message of the Error. A name is printable and one of the
// folder itself.
std::map<std::string, std::string> parse_checksums(std::string_view text, const std::string& path);
