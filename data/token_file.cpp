#include "data/token_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "data/error.h"

static_assert(std::endian::native == std::endian::little, "token files are little-endian and are mapped as they are");

namespace {

struct Format {
  int32_t magic, version;
  int token_bytes;
};
constexpr Format kFormats[] = {{20240520, 1, 2}, {20240801, 7, 4}};

// Opens and maps a whole file; the descriptor is closed again, the mapping stays. O_NONBLOCK: a named pipe is refused
// instead of being waited for.
const unsigned char* map_file(const std::string& path, size_t* bytes) {
  int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) throw Error("token file '" + path + "' cannot be opened: " + std::strerror(errno));
  struct stat status;
  bool regular = fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
  void* mapping = MAP_FAILED;
  *bytes = regular ? size_t(status.st_size) : 0;
  if (*bytes > 0) mapping = mmap(nullptr, *bytes, PROT_READ, MAP_SHARED, descriptor, 0);
  int reason = errno;
  close(descriptor);
  if (!regular) throw Error("token file '" + path + "' is not a regular file");
  if (*bytes == 0) throw Error("token file '" + path + "' is empty");
  if (mapping == MAP_FAILED) throw Error("token file '" + path + "' cannot be mapped: " + std::strerror(reason));
  return static_cast<const unsigned char*>(mapping);
}

// Bytes per token and number of tokens of a mapped file.
Format read_header(const std::string& path, const unsigned char* mapping, size_t bytes, uint64_t* count) {
  std::string name = "token file '" + path + "'";
  if (bytes < kTokenHeaderBytes)
    throw Error(name + " is truncated: it has " + std::to_string(bytes) + " bytes, less than the header's " +
                std::to_string(kTokenHeaderBytes));
  int32_t header[3];
  std::memcpy(header, mapping, sizeof header);
  auto format = std::find_if(std::begin(kFormats), std::end(kFormats), [&](auto& f) { return f.magic == header[0]; });
  if (format == std::end(kFormats))
    throw Error(name + " starts with the number " + std::to_string(header[0]) +
                "; a token file starts with 20240520 (uint16) or 20240801 (uint32)");
  if (header[1] != format->version)
    throw Error(name + " has version " + std::to_string(header[1]) + "; with magic " + std::to_string(header[0]) +
                " it must be " + std::to_string(format->version));
  if (header[2] < 1) throw Error(name + " holds no tokens: its header counts " + std::to_string(header[2]));
  uint64_t expected = kTokenHeaderBytes + uint64_t(header[2]) * format->token_bytes;
  if (bytes != expected)
    throw Error(name + " is " + (bytes < expected ? "truncated" : "too long") + ": its header counts " +
                std::to_string(header[2]) + " tokens, which take " + std::to_string(expected) + " bytes, but it has " +
                std::to_string(bytes));
  *count = uint64_t(header[2]);
  return *format;
}

// Index of the first of `count` packed tokens that is not below vocab_size, or count.
template <class Packed>
uint64_t first_outside(const unsigned char* packed, uint64_t count, uint64_t vocab_size) {
  for (uint64_t i = 0; i < count; i++) {
    Packed token;
    std::memcpy(&token, packed + i * sizeof token, sizeof token);
    if (token >= vocab_size) return i;
  }
  return count;
}

template <class Packed>
void widen(const unsigned char* packed, size_t count, int32_t* out) {
  for (size_t i = 0; i < count; i++) {
    Packed token;
    std::memcpy(&token, packed + i * sizeof token, sizeof token);
    out[i] = int32_t(token);
  }
}

}  // namespace

TokenFile::TokenFile(const std::string& path) : path_(path) {
  mapping_ = map_file(path, &mapping_bytes_);
  try {
    token_bytes_ = read_header(path, mapping_, mapping_bytes_, &size_).token_bytes;
  } catch (...) {
    munmap(const_cast<unsigned char*>(mapping_), mapping_bytes_);
    throw;
  }
}

TokenFile::~TokenFile() { munmap(const_cast<unsigned char*>(mapping_), mapping_bytes_); }

void TokenFile::copy(uint64_t begin, size_t count, int32_t* out) const {
  const unsigned char* packed = mapping_ + kTokenHeaderBytes + begin * token_bytes_;
  token_bytes_ == 2 ? widen<uint16_t>(packed, count, out) : widen<uint32_t>(packed, count, out);
}

void TokenFile::check_tokens(int vocab_size) const {
  const unsigned char* packed = mapping_ + kTokenHeaderBytes;
  uint64_t bad = token_bytes_ == 2 ? first_outside<uint16_t>(packed, size_, vocab_size)
                                   : first_outside<uint32_t>(packed, size_, vocab_size);
  if (bad == size_) return;
  uint32_t token = 0;
  std::memcpy(&token, packed + bad * token_bytes_, token_bytes_);
  throw Error("token file '" + path_ + "' holds token " + std::to_string(token) + " at byte offset " +
              std::to_string(kTokenHeaderBytes + bad * token_bytes_) + "; with a vocabulary of " +
              std::to_string(vocab_size) + " tokens must be below " + std::to_string(vocab_size));
}

TokenStream::TokenStream(const std::vector<std::string>& paths, int vocab_size)
    : paths_(paths), vocab_size_(vocab_size) {
  for (const std::string& path : paths) {
    parts_.push_back(std::make_shared<TokenFile>(path));
    parts_.back()->check_tokens(vocab_size);
    begins_.push_back(size_);
    size_ += parts_.back()->size();
  }
}

void TokenStream::copy(uint64_t begin, size_t count, int32_t* out) const {
  if (begin > size_ || count > size_ - begin)
    throw Error("tokens " + std::to_string(begin) + " to " + std::to_string(begin + count) + " were asked for, but " +
                name() + " ends at token " + std::to_string(size_));
  size_t part = std::upper_bound(begins_.begin(), begins_.end(), begin) - begins_.begin();
  while (count > 0) {
    const TokenFile& file = *parts_[part - 1];
    uint64_t offset = begin - begins_[part - 1];
    size_t here = std::min<uint64_t>(count, file.size() - offset);
    file.copy(offset, here, out);
    if (std::any_of(out, out + here, [&](int32_t token) { return token < 0 || token >= vocab_size_; }))
      throw Failure("token file '" + file.path() +
                    "' has been changed while it was in use: it holds a token outside the " + "vocabulary of " +
                    std::to_string(vocab_size_) + " tokens now");
    begin += here;
    out += here;
    count -= here;
    part++;
  }
}

std::string TokenStream::name() const {
  if (paths_.empty()) return "an empty token stream";
  std::string text = "'" + paths_[0] + "'";
  if (paths_.size() > 1) text += " and " + std::to_string(paths_.size() - 1) + " more";
  return text;
}

TokenWriter::TokenWriter(const std::string& path, int vocab_size)
    : file_(path), vocab_size_(vocab_size), token_bytes_(vocab_size <= 65536 ? 2 : 4) {
  unsigned char header[kTokenHeaderBytes] = {};
  file_.write(header, sizeof header);
}

void TokenWriter::add(const int32_t* tokens, size_t count) {
  if (count > kMostTokensPerFile - count_)
    throw Error("'" + file_.path() + "' would hold more than " + std::to_string(kMostTokensPerFile) +
                " tokens, the most that the format allows in one file");
  packed_.resize(count * token_bytes_);
  for (size_t i = 0; i < count; i++) {
    if (tokens[i] < 0 || tokens[i] >= vocab_size_)
      throw Error("token " + std::to_string(tokens[i]) + " cannot go into '" + file_.path() +
                  "'; with a vocabulary of " + std::to_string(vocab_size_) + " tokens lie between 0 and " +
                  std::to_string(vocab_size_ - 1));
    std::memcpy(packed_.data() + i * token_bytes_, &tokens[i], token_bytes_);
  }
  file_.write(packed_.data(), packed_.size());
  count_ += count;
}

uint64_t TokenWriter::complete() {
  if (count_ == 0) throw Error("'" + file_.path() + "' would hold no token; a token file needs at least one");
  if (complete_) return count_;
  const Format& format = kFormats[token_bytes_ == 2 ? 0 : 1];
  int32_t header[3] = {format.magic, format.version, int32_t(count_)};
  file_.overwrite_start(header, sizeof header);
  file_.complete();
  complete_ = true;
  return count_;
}

uint64_t TokenWriter::finish() {
  complete();
  file_.commit();
  return count_;
}
