// What libFuzzer calls. Compiled once for each target, with ATTNORM_FUZZ_TARGET set to its name.
#include <cstddef>
#include <cstdint>

#include "tests/fuzz/fuzz.h"

#define ATTNORM_CONCATENATE(a, b) a##b
#define ATTNORM_CALL(name, input) ATTNORM_CONCATENATE(fuzz_, name)(input)

// An exception that gets out ends the process, which libFuzzer takes for a finding.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t count) {
  ATTNORM_CALL(ATTNORM_FUZZ_TARGET, std::string_view(reinterpret_cast<const char*>(bytes), count));
  return 0;
}
