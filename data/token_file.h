// Token files as llm.c writes them, little-endian: a header of 256 int32 (magic, version, number of tokens, the rest
// zero), then the tokens. Magic 20240520, version 1: uint16 tokens; magic 20240801, version 7: uint32 tokens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/atomic_file.h"

constexpr size_t kTokenHeaderBytes = 256 * sizeof(int32_t);
constexpr uint64_t kMostTokensPerFile = 2147483647;  // the header's count is an int32

// One token file, mapped into memory for reading.
class TokenFile {
 public:
  // Error, naming the file, if it is missing, empty, truncated, longer than its header says, or of another format.
  explicit TokenFile(const std::string& path);
  ~TokenFile();
  TokenFile(const TokenFile&) = delete;
  TokenFile& operator=(const TokenFile&) = delete;

  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }           // tokens
  int token_bytes() const { return token_bytes_; }  // 2 or 4

  // Tokens begin .. begin + count - 1 as int32; the caller keeps them within size().
  void copy(uint64_t begin, size_t count, int32_t* out) const;

  // Error naming the file and the byte offset of the first token at or above vocab_size.
  void check_tokens(int vocab_size) const;

 private:
  std::string path_;
  const unsigned char* mapping_ = nullptr;
  size_t mapping_bytes_ = 0;
  uint64_t size_ = 0;
  int token_bytes_ = 0;
};

// Several token files, in the order given, read as one sequence of tokens.
class TokenStream {
 public:
  TokenStream() = default;  // no file, no token

  // Opens every file and checks every token against vocab_size. Errors as above.
  TokenStream(const std::vector<std::string>& paths, int vocab_size);

  uint64_t size() const { return size_; }  // tokens
  bool empty() const { return size_ == 0; }

  // Tokens begin .. begin + count - 1 into out[count]; they may span files. Error if they reach beyond size(), Failure if
  // a file has been changed since it was opened so that a token is none of the vocabulary's.
  void copy(uint64_t begin, size_t count, int32_t* out) const;

  const std::vector<std::string>& files() const { return paths_; }
  std::string name() const;  // the first file, and how many follow: for messages

 private:
  std::vector<std::string> paths_;
  std::vector<std::shared_ptr<const TokenFile>> parts_;
  std::vector<uint64_t> begins_;  // where each part starts in the stream
  uint64_t size_ = 0;
  int vocab_size_ = 0;
};

// Writes a token file piece by piece: uint16 for vocabularies up to 65536, uint32 beyond. The file appears under its
// name when finish() returns; complete() is everything before that.
class TokenWriter {
 public:
  TokenWriter(const std::string& path, int vocab_size);
  void add(const int32_t* tokens, size_t count);  // Error for a token outside the vocabulary or a file grown too long
  uint64_t complete();                            // returns the number of tokens; Error if there are none
  uint64_t finish();                              // the same
  const std::string& temporary() const { return file_.temporary(); }  // what complete() leaves

 private:
  AtomicFile file_;
  int vocab_size_;
  int token_bytes_;
  uint64_t count_ = 0;
  bool complete_ = false;
  std::vector<unsigned char> packed_;
};
