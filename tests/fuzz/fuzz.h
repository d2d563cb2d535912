// Fuzz targets: functions that take any bytes as a file or a command line of attnorm and throw where a promise is broken.
// `make fuzz` links each of them with libFuzzer, which looks for such bytes; tests/test_fuzz.cpp calls them with the
// inputs in tests/fuzz/corpus, which libFuzzer found worth keeping or which once broke something.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#define EVERY_FUZZ_TARGET(X) \
  X(checksums)               \
  X(command_line)            \
  X(config_file)             \
  X(config_json)             \
  X(metrics)                 \
  X(metrics_cut)             \
  X(safetensors_file)        \
  X(safetensors_header)      \
  X(token_file)              \
  X(tokens_json)             \
  X(trainer_state)

#define ATTNORM_DECLARE(name) void fuzz_##name(std::string_view input);
EVERY_FUZZ_TARGET(ATTNORM_DECLARE)
#undef ATTNORM_DECLARE

struct BrokenPromise : std::logic_error {
  using std::logic_error::logic_error;
};

inline void require(bool holds, const std::string& promise) {
  if (!holds) throw BrokenPromise("broken promise: " + promise);
}

// One line of printable UTF-8, without control characters.
bool is_printable(std::string_view text);

// Throws BrokenPromise unless the text can be shown to a user: printable, and not longer than a user would read.
void require_sentence(const std::string& text);

// Whether `body` returns. It may throw Error or Failure, with a sentence; anything else passes through.
bool accepts_(void (*call)(void*), void* body);
template <class Body>
bool accepts(Body&& body) {
  return accepts_([](void* b) { (*static_cast<std::remove_reference_t<Body>*>(b))(); }, &body);
}

// A folder of this process for the files of the targets, removed at the end.
const std::string& sandbox();

// The input up to the first separator; what follows it stays in `rest`.
std::string_view take_until(std::string_view& rest, std::string_view separator);
