// What every kind of prepared folder has in common: the text read by splits, and the files that appear when complete.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/prepare.h"
#include "data/token_file.h"
#include "data/tokens_json.h"

constexpr const char* kSplitNames[] = {"train", "val", "test"};  // by Split
constexpr const char* kSplitFiles[] = {"train.bin", "val.bin", "test.bin"};

struct Text {
  uint64_t bytes = 0;
  std::string sha256;
};

// Reads the text once. Error for input that is missing, not a file, or too short to be split.
Text measure_text(const PrepareSource& source);

// Reads it again: read(split, piece) is called for every piece, in the text's order; no piece reaches over the end of a
// block. Failure if the text has changed since it was measured.
void read_by_split(const PrepareSource& source, const Text& text,
                   const std::function<void(Split, std::string_view)>& read);

using TokenWriters = std::vector<std::unique_ptr<TokenWriter>>;  // by Split

// Has write() fill the token files of out_dir, then completes `content`, which has all but sizes and hashes of the
// files, and lets everything appear; what out_dir may hold already, and what it may hold in between: see prepare().
PrepareResult write_prepared(const std::string& out_dir, TokensJson content,
                             const std::function<void(TokenWriters&)>& write);
