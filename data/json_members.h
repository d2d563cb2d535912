// The members of a JSON object in a file, with an Error that names file and key for whatever is not as asked.
#pragma once

#include <climits>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "data/error.h"
#include "data/sha256.h"
#include "data/strict_json.h"

class JsonMembers {
 public:
  using Json = nlohmann::ordered_json;

  // Both must outlive this. `file` begins the messages, "'RUN/config.json'".
  JsonMembers(const Json& json, const std::string& file) : json_(json), file_(file) {
    if (!json.is_object()) throw Error(file + " must be a JSON object, but is " + shown(json));
  }

  bool has(const char* key) const { return json_.contains(key); }

  const Json& at(const char* key) const {
    if (!has(key)) throw Error(file_ + " lacks the key '" + key + "'");
    return json_[key];
  }

  uint64_t natural(const char* key) const {
    if (!is_natural(at(key))) throw bad(key, "an integer of at least 0");
    return at(key).get<uint64_t>();
  }

  int positive_int(const char* key) const {
    if (!is_natural(at(key)) || at(key).get<uint64_t>() < 1 || at(key).get<uint64_t>() > INT_MAX)
      throw bad(key, "an integer between 1 and " + std::to_string(INT_MAX));
    return at(key).get<int>();
  }

  std::string text(const char* key) const {
    if (!at(key).is_string()) throw bad(key, "a text");
    return at(key).get<std::string>();
  }

  bool boolean(const char* key) const {
    if (!at(key).is_boolean()) throw bad(key, "true or false");
    return at(key).get<bool>();
  }

  double number(const char* key) const {
    if (!at(key).is_number()) throw bad(key, "a number");
    return at(key).get<double>();
  }

  std::map<std::string, uint64_t> naturals(const char* key) const {
    std::map<std::string, uint64_t> values;
    if (!at(key).is_object()) throw bad(key, "an object of integers by name");
    for (const auto& [name, value] : at(key).items()) {
      if (!is_natural(value)) throw bad(key, "an object of integers of at least 0 by name");
      values[name] = value.get<uint64_t>();
    }
    return values;
  }

  std::map<std::string, std::string> sums(const char* key) const {
    std::map<std::string, std::string> values;
    if (!at(key).is_object()) throw bad(key, "an object of SHA-256 sums by file");
    for (const auto& [name, sum] : at(key).items()) {
      if (!sum.is_string() || !is_sha256(sum.get<std::string>()))
        throw bad(key, "an object of SHA-256 sums by file, 64 lower-case hexadecimal digits each");
      values[name] = sum;
    }
    return values;
  }

  Error bad(const char* key, const std::string& allowed) const {
    return Error(file_ + " has " + key + " = " + shown(at(key)) + "; it must be " + allowed);
  }

 private:
  const Json& json_;
  const std::string& file_;
};
