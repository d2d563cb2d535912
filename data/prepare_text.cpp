// What data/prepare.h and data/prepare_parts.h declare; data/prepare.cpp is the program around it.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>

#include "data/error.h"
#include "data/prepare.h"
#include "data/prepare_parts.h"
#include "data/sha256.h"
#include "data/tokenizer.h"

namespace {

namespace fs = std::filesystem;

constexpr size_t kReadBytes = 1 << 16;

// Several files as one text, read and hashed piece by piece.
class TextReader {
 public:
  explicit TextReader(const std::vector<std::string>& paths) : paths_(paths) {
    std::error_code ignored;
    for (const std::string& path : paths)
      if (!fs::is_regular_file(path, ignored))
        throw Error("input '" + path + "' " + (fs::exists(path, ignored) ? "is not a file" : "does not exist") +
                    "; it must be a file of text");
  }

  // Up to `most` bytes; an empty piece means the end.
  std::string_view read(size_t most) {
    while (next_ <= paths_.size()) {
      size_t count = file_ ? std::fread(buffer_, 1, std::min(most, sizeof buffer_), file_.get()) : 0;
      hash_.add(buffer_, count);
      if (count > 0) return {buffer_, count};
      if (file_ && std::ferror(file_.get())) fail();
      open_next();
    }
    return {};
  }

  std::string hash() { return hash_.hex(); }  // of all that was read; ends the reading

 private:
  void open_next() {
    file_.reset();
    if (next_++ >= paths_.size()) return;
    file_.reset(std::fopen(paths_[next_ - 1].c_str(), "rb"));
    if (!file_) fail();
  }
  [[noreturn]] void fail() { throw Error("input '" + paths_[next_ - 1] + "' cannot be read: " + std::strerror(errno)); }

  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  const std::vector<std::string>& paths_;
  size_t next_ = 0;  // the file to open next
  std::unique_ptr<std::FILE, Close> file_;
  Sha256 hash_;
  char buffer_[kReadBytes];
};

bool all_files_intact(const std::string& directory, const TokensJson& json) {
  for (const char* name : kSplitFiles) {
    auto recorded = json.sha256.find(name);
    std::string path = directory + "/" + name;
    if (recorded == json.sha256.end() || !fs::exists(path) || sha256_file(path) != recorded->second) return false;
  }
  return true;
}

// Error if out_dir holds tokens that a new output of this source must not replace.
void check_replaceable(const std::string& out_dir, const std::string& source_name) {
  if (fs::exists(out_dir) && !fs::is_directory(out_dir))
    throw Error("--out '" + out_dir + "' is a file; it must be a folder, which is made if it does not exist");
  if (!fs::exists(out_dir)) return;
  auto json = read_tokens_json(out_dir);
  bool own = json && !json->source_sha256.empty();
  if (own && json->source != source_name)
    throw Error("--out '" + out_dir + "' holds the tokens of " + quoted(json->source) + ", not of '" + source_name +
                "'; name another folder or delete this one");
  for (const std::string& name : file_names(out_dir)) {
    bool written_by_us = own && std::count(std::begin(kSplitFiles), std::end(kSplitFiles), name) > 0;
    if ((name.ends_with(".bin") && !written_by_us) || (name == "tokens.json" && !own))
      throw Error("--out '" + out_dir + "' holds '" + name + "', which prepare did not write; name another folder");
  }
}

PrepareResult result_of(TokensJson json, bool already) {
  PrepareResult result;
  result.sha256 = json.source_sha256;
  result.unexpected = json.expected == false;
  result.already = already;
  result.train = json.bytes["train"];
  result.val = json.bytes["val"];
  result.test = json.bytes["test"];
  result.block_bytes = json.block_bytes;
  return result;
}

}  // namespace

Split split_of_block(uint64_t block) {
  return block % 10 == 9 ? Split::kVal : block % 20 == 4 ? Split::kTest : Split::kTrain;
}

uint64_t block_bytes_for(uint64_t text_bytes) { return std::min(kBlockBytes, text_bytes / 10); }

std::optional<PrepareResult> already_prepared(const std::string& out_dir, const std::string& text_sha256) {
  auto json = read_tokens_json(out_dir);
  if (!json || json->source_sha256 != text_sha256 || !all_files_intact(out_dir, *json)) return std::nullopt;
  return result_of(*json, true);
}

Text measure_text(const PrepareSource& source) {
  Text text;
  TextReader reader(source.files);
  for (std::string_view piece; !(piece = reader.read(kReadBytes)).empty();) text.bytes += piece.size();
  text.sha256 = reader.hash();
  if (text.bytes < kLeastTextBytes)
    throw Error("the text '" + source.name + "' has " + std::to_string(text.bytes) + " bytes; it needs at least " +
                std::to_string(kLeastTextBytes) + " to be split into train, val and test");
  return text;
}

void read_by_split(const PrepareSource& source, const Text& text,
                   const std::function<void(Split, std::string_view)>& read) {
  const uint64_t block_bytes = block_bytes_for(text.bytes);
  TextReader reader(source.files);
  uint64_t begin = 0;
  for (std::string_view piece; !(piece = reader.read(block_bytes - begin % block_bytes)).empty(); begin += piece.size())
    read(split_of_block(begin / block_bytes), piece);
  if (reader.hash() != text.sha256) throw Failure("the input changed while it was being read; nothing was written");
}

PrepareResult write_prepared(const std::string& out_dir, TokensJson content,
                             const std::function<void(TokenWriters&)>& write) {
  if (auto result = already_prepared(out_dir, content.source_sha256)) return *result;
  check_replaceable(out_dir, content.source);
  const bool replaced = fs::exists(out_dir + "/tokens.json");
  std::error_code problem;
  fs::create_directories(out_dir, problem);
  if (problem) throw Error("--out '" + out_dir + "' cannot be made: " + problem.message());

  TokenWriters writers;
  for (const char* name : kSplitFiles)
    writers.push_back(std::make_unique<TokenWriter>(out_dir + "/" + name, content.vocab_size));
  write(writers);
  for (size_t i = 0; i < writers.size(); i++) {
    content.bytes[kSplitNames[i]] = writers[i]->complete();
    content.sha256[kSplitFiles[i]] = sha256_file(writers[i]->temporary());
  }
  // First what says how the files must be: whatever ends this early, no half of them is taken for a whole.
  write_tokens_json(out_dir, content);
  for (auto& writer : writers) writer->finish();
  PrepareResult result = result_of(content, false);
  result.replaced = replaced;
  return result;
}

PrepareResult prepare(const PrepareSource& source, const std::string& out_dir) {
  const Text text = measure_text(source);
  TokensJson content;
  content.tokenizer = "bytes";
  content.vocab_size = kByteVocabSize;
  content.source = source.name;
  content.source_sha256 = text.sha256;
  if (!source.expected_sha256.empty()) content.expected = text.sha256 == source.expected_sha256;
  content.block_bytes = block_bytes_for(text.bytes);
  return write_prepared(out_dir, content, [&](TokenWriters& writers) {
    read_by_split(source, text, [&](Split split, std::string_view piece) {
      const auto tokens = encode(piece);
      writers[int(split)]->add(tokens.data(), tokens.size());
    });
  });
}
