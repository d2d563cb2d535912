// The two ways a program of attnorm can end early. Both carry one sentence for the user; main() prints it and returns
// the exit code. The sentence is printable, whatever it quotes.
#pragma once

#include <stdexcept>
#include <string>

#include "data/printable.h"

// Bad usage or bad input: names the option or file, the value found and what is allowed. Exit code 2.
struct Error : std::runtime_error {
  explicit Error(const std::string& sentence) : std::runtime_error(printable(sentence)) {}
};

// The run itself failed: non-finite numbers, a full disk, an interruption. Exit code 1.
struct Failure : std::runtime_error {
  explicit Failure(const std::string& sentence) : std::runtime_error(printable(sentence)) {}
};
