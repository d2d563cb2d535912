// The sentence of the Error, or of another kind of exception, that something throws, to be searched for the names and values that it must contain.
#pragma once

#include <string>
#include <utility>

#include "data/error.h"

// "" if `body` throws nothing; anything else that it throws passes through and fails the test.
template <class Kind = Error, class Body>
std::string error_text(Body&& body) {
  try {
    std::forward<Body>(body)();
  } catch (const Kind& error) {
    return error.what();
  }
  return "";
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
