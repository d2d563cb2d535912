// A folder of token files as `--data DIR` reads it: `*train*.bin`, `*val*.bin` and, if there, `*test*.bin`, several in
// name order as one stream, with what `prepare` recorded about them in tokens.json. Files written for llm.c have no
// tokens.json; then the vocabulary is --vocab-size, or 50257 (GPT-2's) for uint16 tokens.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "data/token_file.h"

constexpr int kGpt2VocabSize = 50257;

struct Dataset {
  std::string directory;
  TokenStream train, val, test;  // test is empty where the folder has none
  int vocab_size = 0;
  bool vocab_from_default = false;            // no tokens.json and no --vocab-size: GPT-2's vocabulary was assumed
  std::string tokenizer;                      // "bytes", or "" where unknown
  std::string task;                           // "needle", or "" for plain text; see TokensJson
  std::string source;                         // what the tokens were made from, "" where unknown
  std::map<std::string, uint64_t> bytes;      // split name -> bytes of text; no entry where unknown
  std::map<std::string, std::string> sha256;  // file name -> hash of each token file in use
  bool unexpected_text = false;  // a named corpus whose text is not the one that the README's losses are for

  // "train", "val" or "test"; Error if the name is another or the split is empty.
  const TokenStream& split(const std::string& name) const;
  // Bytes of text in a split; 0 where unknown.
  uint64_t bytes_in(const std::string& name) const;
};

// Opens a folder. vocab_size: what the caller asks for, 0 = nothing; vocab_name names it in messages (evaluate passes
// the checkpoint's). Error if files are missing, damaged or changed since prepare, or if vocab_size contradicts
// tokens.json.
Dataset load_dataset(const std::string& directory, int vocab_size, const std::string& vocab_name = "--vocab-size");

// Opens one token file of any name, with the tokens.json beside it if there is one. The tokens become the split `val`;
// train and test stay empty.
Dataset load_token_file(const std::string& path, int vocab_size, const std::string& vocab_name = "--vocab-size");
