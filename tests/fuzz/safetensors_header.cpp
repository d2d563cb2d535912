// Input: the number of bytes that follow the header, as decimal text, a line break, the header.
#include <charconv>

#include "data/strict_json.h"
#include "tests/fuzz/fuzz.h"
#include "train/safetensors.h"

namespace {

std::string header_of(const std::map<std::string, TensorEntry>& tensors) {
  nlohmann::json json = nlohmann::json::object();
  for (const auto& [name, entry] : tensors)
    json[name] = {{"dtype", entry.dtype}, {"shape", entry.shape}, {"data_offsets", {entry.begin, entry.end}}};
  return json.dump();
}

}  // namespace

void fuzz_safetensors_header(std::string_view input) {
  const std::string_view number = take_until(input, "\n");
  uint64_t data_bytes = 0;
  std::from_chars(number.data(), number.data() + number.size(), data_bytes);

  std::map<std::string, TensorEntry> tensors;
  if (!accepts([&] { tensors = parse_safetensors_header(input, data_bytes, "'F'"); })) return;
  uint64_t sum = 0;
  for (const auto& [name, entry] : tensors) {
    require(entry.begin <= entry.end && entry.end <= data_bytes, "a tensor lies within the file");
    sum += entry.end - entry.begin;
  }
  require(sum == data_bytes, "the tensors fill the file");
  require(parse_safetensors_header(header_of(tensors), data_bytes, "'F'") == tensors, "a header means what it says");
}
