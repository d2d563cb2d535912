// Tensors in a file, in the format `safetensors` of Hugging Face (https://huggingface.co/docs/safetensors):
//   8 bytes   length N of the header, little-endian
//   N bytes   JSON: {"__metadata__": {text: text}, name: {"dtype": "F32", "shape": [..], "data_offsets": [begin, end]}}
//   the rest  the numbers, row by row; offsets count from its first byte, without gaps or overlaps
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "data/file_descriptor.h"

// A tensor to write. `data` holds as many floats as the product of `shape`.
struct TensorSpan {
  std::string name;
  std::vector<size_t> shape;
  const float* data;
};

// Writes the tensors in the given order as F32, with the metadata {"format":"pt"} that Hugging Face asks for and a
// header padded with spaces so that the numbers start on a multiple of 8. The file is replaced only when it is complete
// and synced. Returns its SHA-256. Error or Failure if the disk refuses, Error for a name that occurs twice.
std::string write_safetensors(const std::string& path, const std::vector<TensorSpan>& tensors);

// What the header says of one tensor.
struct TensorEntry {
  std::string dtype;  // "F32", "BF16", ...: any that the format knows
  std::vector<size_t> shape;
  uint64_t begin, end;  // bytes, from the start of the numbers

  bool operator==(const TensorEntry&) const = default;
};

// The tensors of a header, by name, when `data_bytes` bytes follow it. `file` begins the messages. Error unless every
// entry is complete and the tensors fill the data exactly.
std::map<std::string, TensorEntry> parse_safetensors_header(std::string_view header, uint64_t data_bytes,
                                                            const std::string& file);

// An open file, whose header was checked against its size. Reading takes no memory beyond a small buffer.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::string& path);  // Error if it cannot be read or breaks the format

  const std::string& path() const { return path_; }
  const std::map<std::string, TensorEntry>& tensors() const { return tensors_; }
  bool contains(const std::string& name) const { return tensors_.count(name) > 0; }
  std::vector<std::string> names() const;                           // in alphabetical order
  const std::vector<size_t>& shape(const std::string& name) const;  // Error if there is no such tensor
  size_t size(const std::string& name) const;                       // numbers in it

  // Error unless the tensor exists and holds floats that read() can widen: F32, F16 or BF16.
  void check_readable(const std::string& name) const;

  // The numbers of a tensor, or `count` of them from number `begin` on, as floats into `out`: exact for each of the
  // three types, NaNs included. Error as above, or if the file ends early.
  void read(const std::string& name, float* out) const { read(name, 0, size(name), out); }
  void read(const std::string& name, size_t begin, size_t count, float* out) const;

 private:
  const TensorEntry& entry(const std::string& name) const;

  std::string path_;
  FileDescriptor descriptor_;
  uint64_t data_start_ = 0;
  std::map<std::string, TensorEntry> tensors_;
};

// "(768, 2304)", for messages.
std::string shape_text(const std::vector<size_t>& shape);
