// Bytes as tokens: text in is text out, for any encoding, with no vocabulary file.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/error.h"

constexpr int kByteVocabSize = 256;

inline std::vector<int32_t> encode(std::string_view text) {
  std::vector<int32_t> tokens;
  tokens.reserve(text.size());
  for (char c : text) tokens.push_back(uint8_t(c));
  return tokens;
}

// Error for a token outside 0..255.
inline std::string decode(std::span<const int32_t> tokens) {
  std::string text;
  text.reserve(tokens.size());
  for (int32_t token : tokens) {
    if (token < 0 || token >= kByteVocabSize)
      throw Error("token " + std::to_string(token) + " is not a byte; tokens of bytes lie between 0 and 255");
    text.push_back(char(token));
  }
  return text;
}
