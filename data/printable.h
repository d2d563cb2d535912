// Text of unknown origin, from a file or a command line, made fit for a terminal: no control character moves its cursor,
// no line break pretends to be another message.
#pragma once

#include <string>
#include <string_view>

// The same text on one line: each control character (C0, DEL, C1, and Unicode's two separators of lines) and each byte
// that is not UTF-8 becomes a question mark.
inline std::string printable(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size();) {
    auto byte = [&](size_t k) { return i + k < text.size() ? static_cast<unsigned char>(text[i + k]) : 0u; };
    const unsigned first = byte(0), second = byte(1), third = byte(2);
    size_t length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    bool valid = first < 0x80 || (0xc2 <= first && first <= 0xf4);
    for (size_t k = 1; valid && k < length; k++) valid = (byte(k) & 0xc0) == 0x80;
    // Longer than need be, surrogates, beyond U+10FFFF.
    if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second >= 0xa0)) valid = false;
    if ((first == 0xf0 && second < 0x90) || (first == 0xf4 && second >= 0x90)) valid = false;
    if (!valid) length = 1;
    const bool control = first < 0x20 || first == 0x7f || (first == 0xc2 && second < 0xa0) ||
                         (first == 0xe2 && second == 0x80 && (third == 0xa8 || third == 0xa9));
    result += valid && !control ? text.substr(i, length) : "?";
    i += length;
  }
  return result;
}

// Its start, where it has more than `most` bytes.
inline std::string shortened(std::string_view text, size_t most = 80) {
  if (text.size() <= most) return std::string(text);
  size_t end = most - 3;
  while (end > 0 && (text[end] & 0xc0) == 0x80) end--;  // not within a character of UTF-8
  return std::string(text.substr(0, end)) + "...";
}

// Both, in quotes.
inline std::string quoted(std::string text) { return "'" + printable(shortened(text)) + "'"; }
