// SHA-256 through OpenSSL, as lower-case hexadecimal. Used to name data and to notice that a file has changed.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

// A hash that is fed piece by piece.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void add(const void* bytes, size_t count);
  std::string hex();  // ends the hash: call once, and add nothing afterwards

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

// The hash of a file's content, read in pieces. Error if the file cannot be read.
std::string sha256_file(const std::string& path);

std::string sha256_hex(std::string_view bytes);

// Whether the text is written as the functions above write a hash.
inline bool is_sha256(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}
