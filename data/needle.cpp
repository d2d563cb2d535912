#include "data/needle.h"

#include <cmath>

#include "data/error.h"
#include "kernels/random.h"

namespace {

constexpr int kMostAttempts = 1000;

// The draws of one example, one after the other.
class Draws {
 public:
  Draws(uint64_t seed, const std::string& series, uint64_t number)
      : stream_{{uint32_t(seed), fnv1a(series)}}, upper_(seed >> 32 << 32), number_(number) {}

  // Uniform in 0 .. n-1.
  uint64_t below(uint64_t n) {
    const auto words = stream_(number_, upper_ | next_++);
    return ::below(n, words[0], words[1]);
  }

  std::string characters(size_t count, char first, uint64_t kinds) {
    std::string text;
    for (size_t i = 0; i < count; i++) text += char(first + below(kinds));
    return text;
  }

 private:
  Philox stream_;
  uint64_t upper_, number_;
  uint32_t next_ = 0;
};

// Whether `word` stands exactly twice in the text, overlaps counted.
bool stands_twice(const std::string& text, const std::string& word) {
  int count = 0;
  for (size_t at = text.find(word); at != text.npos && count < 3; at = text.find(word, at + 1)) count++;
  return count == 2;
}

}  // namespace

void require_filler(const Filler& filler, size_t length) {
  const size_t needed = needle_filler_bytes(length);
  if (filler.bytes < needed)
    throw Error(filler.name + " has " + std::to_string(filler.bytes) + " bytes; examples of " + std::to_string(length) +
                " bytes need at least " + std::to_string(needed) + " of filler");
}

NeedleExample needle_example(const Filler& filler, size_t length, std::optional<double> depth, uint64_t seed,
                             const std::string& series, uint64_t number) {
  const size_t count = needle_filler_bytes(length);
  Draws draws(seed, series, number);
  for (int attempt = 0; attempt < kMostAttempts; attempt++) {
    const std::string key = draws.characters(kKeyLetters, 'a', 26), value = draws.characters(kValueDigits, '0', 10);
    const std::string piece = filler.read(draws.below(filler.bytes - count + 1), count);
    NeedleExample example;
    example.place = depth ? size_t(std::llround(*depth * double(count))) : size_t(draws.below(count + 1));
    example.text =
        piece.substr(0, example.place) + key + "=" + value + ";" + piece.substr(example.place) + key + "=" + value;
    if (stands_twice(example.text, key) && stands_twice(example.text, value)) return example;
  }
  throw Error(filler.name + " seems to hold every key or value: none of " + std::to_string(kMostAttempts) +
              " drawn for pieces of " + std::to_string(count) +
              " bytes was missing there; use another text or shorter examples");
}
