// The task of key retrieval: a text that holds `<key>=<value>;` at some depth and ends with `<key>=` and, once more, the
// value, which a model can only predict by looking the key up.
//
// An example of `length` bytes, with `place` bytes of filler before the needle:
//
//   filler, `place` bytes | abcd=1234; | filler, the rest | abcd= | 1234
//                           the needle                      query   answer
//
// The key is 4 letters a to z, the value 4 digits. All filler is one piece of a text, cut in two by the needle. Key and
// value stand nowhere else in the example.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

constexpr const char* kNeedleTask = "needle";  // in tokens.json, of a folder of examples

constexpr size_t kKeyLetters = 4, kValueDigits = 4;
constexpr size_t kNeedleBytes = kKeyLetters + 1 + kValueDigits + 1;
constexpr size_t kQueryBytes = kKeyLetters + 1;
constexpr int kLeastNeedleLength = int(kNeedleBytes + kQueryBytes + kValueDigits) + 1;  // one byte of filler

// Of an example of `length` bytes, at least kLeastNeedleLength.
constexpr size_t needle_filler_bytes(size_t length) { return length - kNeedleBytes - kQueryBytes - kValueDigits; }

struct NeedleExample {
  std::string text;
  size_t place = 0;  // where the needle starts

  size_t needle_value() const { return place + kKeyLetters + 1; }      // where the needle's value starts
  size_t query_end() const { return text.size() - kValueDigits - 1; }  // the last `=`, which predicts the first digit
  size_t answer() const { return text.size() - kValueDigits; }         // where the answer starts
};

// The text that filler is taken from.
struct Filler {
  std::string name;  // for messages
  uint64_t bytes = 0;
  std::function<std::string(uint64_t begin, size_t count)> read;
};

// Error unless the filler has enough bytes for examples of this length, at least kLeastNeedleLength.
void require_filler(const Filler& filler, size_t length);

// Example `number` of a series, a function of the arguments alone. The filler must be long enough, as above. `depth` puts
// the needle behind that share of the filler, from 0 to 1; without one, every place is equally likely. Drawn by Philox
// with key (seed, FNV-1a of the series' name) and counter (number, how many were drawn before); the seed's high 32 bits
// are the counter's upper word. Where a key or value stands elsewhere too, all is drawn again; Error where that never ends.
NeedleExample needle_example(const Filler& filler, size_t length, std::optional<double> depth, uint64_t seed,
                             const std::string& series, uint64_t number);
