// JSON from files that attnorm did not necessarily write: one sentence for whatever is wrong with it, no key twice
// (nlohmann-json would keep the last), no nesting deeper than any file of ours.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "data/error.h"

inline constexpr int kMostJsonDepth = 16;
inline constexpr size_t kMostOrderedKeys = 20'000;  // of a whole ordered_json, which searches keys one by one

// A value from a file, fit for a message: on one line, shortened.
template <class Json>
std::string shown(const Json& value) {
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  return shortened(text);
}

// An integer of at least 0, whichever way the library holds it.
template <class Json>
bool is_natural(const Json& value) {
  return value.is_number_unsigned() || (value.is_number_integer() && value.template get<int64_t>() >= 0);
}

// What parse_strict_json() refuses, found in a first pass over the text. (nlohmann-json's parser with a callback would do
// it in one, but looks at all members of an object again whenever one of them ends: quadratic time.)
class StrictJsonCheck {
 public:
  StrictJsonCheck(const std::string& where, int most_depth, size_t most_keys)
      : where_(where), most_depth_(most_depth), most_keys_(most_keys) {}

  bool null() { return true; }
  bool boolean(bool) { return true; }
  bool number_integer(int64_t) { return true; }
  bool number_unsigned(uint64_t) { return true; }
  bool number_float(double, const std::string&) { return true; }
  bool string(const std::string&) { return true; }
  template <class Binary>
  bool binary(const Binary&) {  // no text has one
    return false;
  }

  bool start_array(size_t) { return open(); }
  bool end_array() { return close(); }
  bool start_object(size_t) { return open(); }
  bool end_object() { return close(); }

  bool key(const std::string& key) {
    if (!open_.back().insert(key).second) throw Error(where_ + " has the key " + quoted(key) + " twice");
    if (++keys_ > most_keys_)
      throw Error(where_ + " has more than the " + std::to_string(most_keys_) + " keys allowed");
    return true;
  }

  template <class Exception>
  [[noreturn]] bool parse_error(size_t byte, const std::string&, const Exception& error) {
    constexpr int kOutOfRange = 406;
    if (error.id == kOutOfRange)
      throw Error(where_ + " is not valid JSON: it holds a number that no computer number can hold");
    throw Error(where_ + " is not valid JSON: it breaks at byte " + std::to_string(byte));
  }

 private:
  bool open() {
    if (int(open_.size()) == most_depth_)
      throw Error(where_ + " is nested deeper than the " + std::to_string(most_depth_) + " levels allowed");
    open_.emplace_back();
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  const std::string& where_;
  int most_depth_;
  size_t most_keys_, keys_ = 0;
  std::vector<std::set<std::string>> open_;  // the keys of each object and array that is open
};

// Json is nlohmann::json or nlohmann::ordered_json; `where` begins every message, "'RUN/config.json'".
template <class Json>
Json parse_strict_json(std::string_view text, const std::string& where, int most_depth = kMostJsonDepth) {
  constexpr bool kOrdered = std::is_same_v<Json, nlohmann::ordered_json>;
  StrictJsonCheck check(where, most_depth, kOrdered ? kMostOrderedKeys : SIZE_MAX);
  Json::sax_parse(text.begin(), text.end(), &check);
  return Json::parse(text.begin(), text.end());
}
