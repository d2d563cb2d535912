// The two ways a program of attnorm can end early. Both carry one sentence for the user; main() prints it and returns
// the exit code.
#pragma once

#include <stdexcept>
#include <string>

// Bad usage or bad input: names the option or file, the value found and what is allowed. Exit code 2.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The run itself failed: non-finite numbers, a full disk, an interruption. Exit code 1.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};
