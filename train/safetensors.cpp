#include "train/safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <set>

#include "data/atomic_file.h"
#include "data/error.h"
#include "data/sha256.h"
#include "data/strict_json.h"

static_assert(std::endian::native == std::endian::little, "safetensors are little-endian and are read as they are");

namespace {

using Json = nlohmann::json;

constexpr uint64_t kLengthBytes = 8;
constexpr int kMostHeaderDepth = 3;                 // a list in a tensor's object in the header's
constexpr uint64_t kMostHeaderBytes = 100'000'000;  // as in Hugging Face's own reader

struct Dtype {
  const char* name;
  uint64_t bytes;
};
constexpr Dtype kDtypes[] = {{"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1}, {"F8_E8M0", 1},
                             {"I16", 2},  {"U16", 2}, {"F16", 2}, {"BF16", 2},    {"I32", 4},     {"U32", 4},
                             {"F32", 4},  {"I64", 8}, {"U64", 8}, {"F64", 8},     {"C64", 8}};

// 0 for a name that the format does not know.
uint64_t dtype_bytes(const std::string& name) {
  auto found = std::find_if(std::begin(kDtypes), std::end(kDtypes), [&](auto& dtype) { return name == dtype.name; });
  return found == std::end(kDtypes) ? 0 : found->bytes;
}

// The value as an unsigned number. JSON numbers like 4.0, 1e3 or -1 are none.
uint64_t natural(const Json& value, const std::string& what) {
  if (!is_natural(value)) throw Error(what + " is " + shown(value) + "; it must be an integer of at least 0");
  return value.get<uint64_t>();
}

// One tensor of the header; `what` names it in messages.
TensorEntry parse_entry(const Json& json, uint64_t data_bytes, const std::string& what) {
  if (!json.is_object()) throw Error(what + " is " + shown(json) + "; it must be an object");
  for (const auto& [key, value] : json.items())
    if (key != "dtype" && key != "shape" && key != "data_offsets")
      throw Error(what + " has the key " + quoted(key) + "; allowed are dtype, shape and data_offsets");
  for (const char* key : {"dtype", "shape", "data_offsets"})
    if (!json.contains(key)) throw Error(what + " lacks '" + key + "'");
  const Json &dtype = json["dtype"], &shape = json["shape"], &offsets = json["data_offsets"];
  if (!dtype.is_string()) throw Error(what + " has the dtype " + shown(dtype) + "; it must be a text such as F32");
  if (!shape.is_array()) throw Error(what + " has the shape " + shown(shape) + "; it must be a list of integers");
  if (!offsets.is_array() || offsets.size() != 2)
    throw Error(what + " has the data_offsets " + shown(offsets) + "; they must be two integers, [begin, end]");

  TensorEntry entry{
      dtype, {}, natural(offsets[0], "an offset of " + what), natural(offsets[1], "an offset of " + what)};
  uint64_t bytes = dtype_bytes(entry.dtype);
  if (bytes == 0) throw Error(what + " has the unknown dtype " + quoted(entry.dtype));
  for (const Json& dimension : shape) {
    entry.shape.push_back(natural(dimension, "a dimension of " + what));
    if (__builtin_mul_overflow(bytes, entry.shape.back(), &bytes))
      throw Error(what + " has the shape " + shown(shape) + ", more numbers than any file can hold");
  }
  if (entry.begin > entry.end || entry.end > data_bytes)
    throw Error(what + " lies at bytes " + std::to_string(entry.begin) + " to " + std::to_string(entry.end) +
                ", outside the " + std::to_string(data_bytes) + " bytes that follow the header");
  if (entry.end - entry.begin != bytes)
    throw Error(what + " takes " + std::to_string(entry.end - entry.begin) + " bytes; its shape " + shown(shape) +
                " of " + entry.dtype + " needs " + std::to_string(bytes));
  return entry;
}

// Error unless the tensors lie one behind the other and fill the data.
void check_contiguous(const std::map<std::string, TensorEntry>& tensors, uint64_t data_bytes, const std::string& file) {
  std::vector<const std::pair<const std::string, TensorEntry>*> order;
  for (const auto& tensor : tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](auto* a, auto* b) {
    return std::pair(a->second.begin, a->second.end) < std::pair(b->second.begin, b->second.end);
  });
  uint64_t end = 0;
  for (const auto* tensor : order) {
    const auto& [name, entry] = *tensor;
    if (entry.begin != end)
      throw Error(file + " has " + (entry.begin < end ? "an overlap" : "a gap") + ": tensor " + quoted(name) +
                  " starts at byte " + std::to_string(entry.begin) + ", the one before ends at " + std::to_string(end));
    end = entry.end;
  }
  if (end != data_bytes)
    throw Error(file + " has " + std::to_string(data_bytes) + " bytes of numbers; its header describes " +
                std::to_string(end));
}

float widen_f16(uint16_t half) {
  uint32_t sign = uint32_t(half & 0x8000) << 16, exponent = (half >> 10) & 31, fraction = half & 0x3ff;
  if (exponent == 0) {  // zero and subnormals: fraction * 2^-24, exact in float
    float magnitude = float(fraction) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
  }
  uint32_t wide = exponent == 31 ? 255 : exponent + (127 - 15);
  return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

float widen_bf16(uint16_t half) { return std::bit_cast<float>(uint32_t(half) << 16); }

// Reads exactly `count` bytes at `offset`.
void read_at(int descriptor, uint64_t offset, void* out, size_t count, const std::string& path) {
  char* next = static_cast<char*>(out);
  while (count > 0) {
    ssize_t got = pread(descriptor, next, count, off_t(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error("'" + path + "' cannot be read: " + std::strerror(errno));
    if (got == 0) throw Error("'" + path + "' became shorter while it was read");
    next += got;
    offset += uint64_t(got);
    count -= size_t(got);
  }
}

}  // namespace

std::string shape_text(const std::vector<size_t>& shape) {
  std::string text;
  for (size_t dimension : shape) text += (text.empty() ? "" : ", ") + std::to_string(dimension);
  return "(" + text + ")";
}

std::string write_safetensors(const std::string& path, const std::vector<TensorSpan>& tensors) {
  std::string header = R"({"__metadata__":{"format":"pt"})";
  std::vector<size_t> bytes;
  std::set<std::string> names;
  uint64_t begin = 0;
  for (const TensorSpan& tensor : tensors) {
    if (!names.insert(tensor.name).second)
      throw Error("'" + path + "' would hold the tensor " + quoted(tensor.name) + " twice");
    size_t size = sizeof(float);
    for (size_t dimension : tensor.shape) size *= dimension;
    Json entry = {{"dtype", "F32"}, {"shape", tensor.shape}, {"data_offsets", {begin, begin + size}}};
    header += "," + Json(tensor.name).dump() + ":" + entry.dump();
    bytes.push_back(size);
    begin += size;
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');

  AtomicFile file(path);
  Sha256 hash;
  auto write = [&](const void* from, size_t count) {
    file.write(from, count);
    hash.add(from, count);
  };
  uint64_t length = header.size();
  write(&length, kLengthBytes);
  write(header.data(), header.size());
  for (size_t i = 0; i < tensors.size(); i++) write(tensors[i].data, bytes[i]);
  file.commit();
  return hash.hex();
}

std::map<std::string, TensorEntry> parse_safetensors_header(std::string_view header, uint64_t data_bytes,
                                                            const std::string& file) {
  const Json json = parse_strict_json<Json>(header, "the header of " + file, kMostHeaderDepth);
  if (!json.is_object()) throw Error("the header of " + file + " must be a JSON object");
  std::map<std::string, TensorEntry> tensors;
  for (const auto& [name, value] : json.items()) {
    if (name != "__metadata__")
      tensors[name] = parse_entry(value, data_bytes, "tensor " + quoted(name) + " in " + file);
    else if (!value.is_object() || !std::all_of(value.begin(), value.end(), [](auto& v) { return v.is_string(); }))
      throw Error("the header of " + file + " has the metadata " + shown(value) + "; they must be texts by name");
  }
  check_contiguous(tensors, data_bytes, file);
  return tensors;
}

// O_NONBLOCK: a named pipe is refused below instead of being waited for.
SafetensorsFile::SafetensorsFile(const std::string& path)
    : path_(path), descriptor_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
  if (!descriptor_) throw Error("'" + path + "' cannot be opened: " + std::strerror(errno));
  struct stat status;
  if (fstat(descriptor_.number(), &status) != 0 || !S_ISREG(status.st_mode))
    throw Error("'" + path + "' is not a regular file");
  const uint64_t size = uint64_t(status.st_size);
  if (size < kLengthBytes)
    throw Error("'" + path + "' is truncated: it has " + std::to_string(size) + " bytes, less than the first 8");
  uint64_t length;
  read_at(descriptor_.number(), 0, &length, kLengthBytes, path);
  if (length > kMostHeaderBytes)
    throw Error("'" + path + "' announces a header of " + std::to_string(length) + " bytes; at most " +
                std::to_string(kMostHeaderBytes) + " are allowed, so it is no safetensors file");
  if (length > size - kLengthBytes)
    throw Error("'" + path + "' is truncated: its header takes " + std::to_string(length) + " bytes, but only " +
                std::to_string(size - kLengthBytes) + " follow the length");
  std::string header(length, '\0');
  read_at(descriptor_.number(), kLengthBytes, header.data(), header.size(), path);
  data_start_ = kLengthBytes + length;
  tensors_ = parse_safetensors_header(header, size - data_start_, "'" + path + "'");
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> names;
  for (const auto& tensor : tensors_) names.push_back(tensor.first);
  return names;
}

const std::vector<size_t>& SafetensorsFile::shape(const std::string& name) const { return entry(name).shape; }

size_t SafetensorsFile::size(const std::string& name) const {
  const TensorEntry& found = entry(name);
  return (found.end - found.begin) / dtype_bytes(found.dtype);
}

void SafetensorsFile::check_readable(const std::string& name) const {
  const std::string& dtype = entry(name).dtype;
  if (dtype != "F32" && dtype != "F16" && dtype != "BF16")
    throw Error("tensor " + quoted(name) + " in '" + path_ + "' has the dtype " + dtype +
                "; allowed are F32, F16 and BF16");
}

void SafetensorsFile::read(const std::string& name, size_t begin, size_t count, float* out) const {
  check_readable(name);
  if (begin > size(name) || count > size(name) - begin)
    throw Error("numbers " + std::to_string(begin) + " to " + std::to_string(begin + count) + " of tensor " +
                quoted(name) + " were asked for, but it has " + std::to_string(size(name)));
  const TensorEntry& tensor = entry(name);
  uint64_t offset = data_start_ + tensor.begin + begin * dtype_bytes(tensor.dtype);
  if (tensor.dtype == "F32") return read_at(descriptor_.number(), offset, out, count * sizeof(float), path_);

  auto widen = tensor.dtype == "F16" ? widen_f16 : widen_bf16;
  uint16_t halves[4096];
  while (count > 0) {
    size_t now = std::min(count, std::size(halves));
    read_at(descriptor_.number(), offset, halves, now * sizeof halves[0], path_);
    for (size_t i = 0; i < now; i++) out[i] = widen(halves[i]);
    out += now;
    count -= now;
    offset += now * sizeof halves[0];
  }
}

const TensorEntry& SafetensorsFile::entry(const std::string& name) const {
  auto found = tensors_.find(name);
  if (found == tensors_.end()) throw Error("'" + path_ + "' holds no tensor " + quoted(name));
  return found->second;
}
