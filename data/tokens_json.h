// DIR/tokens.json: what `prepare` records about the token files beside it. Files made elsewhere may come with a
// tokens.json of their own; only vocab_size is required.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct TokensJson {
  int vocab_size = 0;
  std::string task;                           // "needle" where the tokens are examples of it; "" for plain text
  std::string tokenizer;                      // "bytes" or a name that attnorm does not know
  std::map<std::string, uint64_t> bytes;      // split name -> bytes of text
  std::string source;                         // a corpus's name, or the input files
  std::string source_sha256;                  // of the text; written by prepare only
  std::optional<bool> expected;               // corpora only: whether the text is the one of data/corpora.h
  uint64_t block_bytes = 0;                   // of prepare's split; 0 where unknown
  std::map<std::string, std::string> sha256;  // file name -> hash

  bool operator==(const TokensJson&) const = default;
};

// The content of such a file and the reverse. Error, beginning with `path`, if it is no JSON, lacks vocab_size or has a
// key of a wrong type.
TokensJson parse_tokens_json(std::string_view text, const std::string& path);
std::string tokens_json_text(const TokensJson& content);

// Nothing if the folder has no tokens.json. Error as above, or if it cannot be read.
std::optional<TokensJson> read_tokens_json(const std::string& directory);

void write_tokens_json(const std::string& directory, const TokensJson& content);

// The names of everything in a folder, sorted. Error if it cannot be read.
std::vector<std::string> file_names(const std::string& directory);
