#include "tests/fuzz/fuzz.h"

#include <algorithm>

#include "data/error.h"
#include "tests/temp_dir.h"

namespace {

constexpr size_t kLongestSentence = 800;

// Length of the printable character that the text starts with; 0 where there is none.
size_t printable_character(std::string_view text) {
  auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const unsigned first = byte(0);
  if (first < 0x80) return first >= 0x20 && first != 0x7f;
  const size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  unsigned code = first & (0x7f >> length);
  for (size_t i = 1; i < length; i++) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    code = code << 6 | (byte(i) & 0x3f);
  }
  const bool shortest = code >= (length == 2 ? 0x80u : length == 3 ? 0x800u : 0x10000u);
  const bool allowed = first >= 0xc0 && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
  const bool control = code < 0xa0 || code == 0x2028 || code == 0x2029;  // C1, and two more ends of a line
  return shortest && allowed && !control ? length : 0;
}

}  // namespace

bool is_printable(std::string_view text) {
  while (!text.empty()) {
    const size_t length = printable_character(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

void require_sentence(const std::string& text) {
  require(!text.empty(), "a message says something");
  require(is_printable(text), "a message is one line of printable characters: " + text);
  require(text.size() <= kLongestSentence, "a message of " + std::to_string(text.size()) + " bytes is short: " + text);
}

bool accepts_(void (*call)(void*), void* body) {
  try {
    call(body);
    return true;
  } catch (const Error& error) {
    require_sentence(error.what());
  } catch (const Failure& failure) {
    require_sentence(failure.what());
  }
  return false;
}

const std::string& sandbox() {
  static const TempDir folder;
  static const std::string path = folder.path.string();
  return path;
}

std::string_view take_until(std::string_view& rest, std::string_view separator) {
  const size_t end = std::min(rest.find(separator), rest.size());
  const std::string_view taken = rest.substr(0, end);
  rest.remove_prefix(std::min(rest.size(), end + separator.size()));
  return taken;
}
