// Text into token files: any bytes, one token each, streamed with constant memory.
//
// The split is by blocks and not by tail, because the end of a book is another text than its middle. Block i (from 0)
// goes to val if i mod 10 = 9, to test if i mod 20 = 4, else to train. A block has 64 KiB; a text of less than ten such
// blocks is cut into blocks of a tenth of its size (rounded down), so that every split still gets one; a text of less
// than 20 bytes is refused. tokens.json records the block size.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

constexpr uint64_t kBlockBytes = 64 * 1024;
constexpr uint64_t kLeastTextBytes = 20;  // two tokens for val: one to start from, one to predict

enum class Split { kTrain, kVal, kTest };
Split split_of_block(uint64_t block);
uint64_t block_bytes_for(uint64_t text_bytes);

struct PrepareSource {
  std::vector<std::string> files;  // read one after the other as one text
  std::string name;                // recorded as "source"; also decides whether a former output may be replaced
  std::string expected_sha256;     // of the text; "" where no particular text is expected
};

struct PrepareResult {
  std::string sha256;                     // of the text
  bool unexpected = false;                // the text is not the expected one
  bool already = false;                   // the folder held exactly these tokens; nothing was written
  bool replaced = false;                  // the folder held other tokens of this source before
  uint64_t train = 0, val = 0, test = 0;  // tokens = bytes of each split
  uint64_t block_bytes = 0;
};

// Writes train.bin, val.bin, test.bin and tokens.json into out_dir, which is made if it does not exist. Each file
// appears only when complete, tokens.json last; a folder caught in between has hashes that do not match and is refused
// by load_dataset until prepare has run again.
// What out_dir may hold already: nothing; or intact tokens of the same text: then nothing is written; or what prepare
// wrote before from a source of the same name (the text has changed): replaced. Tokens from another source, or
// not from prepare, are never touched: Error. Error also for input that is missing, not a file, or too short.
PrepareResult prepare(const PrepareSource& source, const std::string& out_dir);

// The former result (already = true) if out_dir holds intact tokens made by prepare from the text with this hash. Needs
// no text.
std::optional<PrepareResult> already_prepared(const std::string& out_dir, const std::string& text_sha256);
