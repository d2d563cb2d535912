// JSON from files that attnorm did not necessarily write: one sentence for whatever is wrong with it, no key twice
// (nlohmann-json would keep the last), no nesting deeper than any file of ours.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "data/error.h"

inline constexpr int kMostJsonDepth = 16;

// Text from a file, fit for a message: in quotes, on one line, shortened.
inline std::string quoted(std::string text) {
  if (text.size() > 80) text = text.substr(0, 77) + "...";
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return "'" + text + "'";
}

// A value from a file, likewise.
template <class Json>
std::string shown(const Json& value) {
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  return text.size() > 80 ? text.substr(0, 77) + "..." : text;
}

// An integer of at least 0, whichever way the library holds it.
template <class Json>
bool is_natural(const Json& value) {
  return value.is_number_unsigned() || (value.is_number_integer() && value.template get<int64_t>() >= 0);
}

// Json is nlohmann::json or nlohmann::ordered_json; `where` begins every message, "'RUN/config.json'".
template <class Json>
Json parse_strict_json(std::string_view text, const std::string& where) {
  using Event = typename Json::parse_event_t;
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  auto check = [&](int depth, Event event, Json& value) {
    if (depth > kMostJsonDepth)
      throw Error(where + " is nested deeper than the " + std::to_string(kMostJsonDepth) + " levels allowed");
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key)
      if (auto key = value.template get<std::string>(); !keys.back().insert(key).second)
        throw Error(where + " has the key " + quoted(key) + " twice");
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), check);
  } catch (const typename Json::parse_error& error) {
    throw Error(where + " is not valid JSON: it breaks at byte " + std::to_string(error.byte));
  } catch (const typename Json::exception&) {
    throw Error(where + " is not valid JSON: it holds a number that no computer number can hold");
  }
}
