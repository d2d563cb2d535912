// What the compiler calls for -fsanitize=bounds, alignment, shift, integer-divide-by-zero and signed-integer-overflow,
// which kernels may be compiled with beside -fsanitize=thread. An index beyond one dimension of an array is inside the
// array for every other check; a float4 of which the compiler writes the parts one by one is aligned for every other
// check. Weak, so that a program with the sanitizer's own library keeps that one.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "scheduler.h"

namespace {

// The first member of what the compiler hands over for each place, whatever follows it.
struct SourceLocation {
  const char* file;
  uint32_t line;
  uint32_t column;
};

[[noreturn]] void report(const void* data, const char* what) {
  emu::begin_report();
  const SourceLocation& place = *static_cast<const SourceLocation*>(data);
  const std::string line = (place.file ? place.file : "an unknown file") + (":" + std::to_string(place.line));
  if (emu::in_fiber()) emu::fail(what, line);
  std::fprintf(stderr, "%s: %s\n", line.c_str(), what);
  std::abort();
}

struct TypeMismatch {
  SourceLocation place;
  const void* type;
  uint8_t log_alignment;
  uint8_t kind;
};

}  // namespace

#define EMU_HANDLER(name, what, ...) \
  __attribute__((weak)) void __ubsan_handle_##name(void* data, ##__VA_ARGS__) { report(data, what); }

extern "C" {
EMU_HANDLER(shift_out_of_bounds, "a shift by more bits than the number has, or of a negative number", void*, void*)
EMU_HANDLER(divrem_overflow, "a division by zero, or of the least number by -1", void*, void*)
EMU_HANDLER(add_overflow, "overflow of a signed addition", void*, void*)
EMU_HANDLER(sub_overflow, "overflow of a signed subtraction", void*, void*)
EMU_HANDLER(mul_overflow, "overflow of a signed multiplication", void*, void*)
EMU_HANDLER(negate_overflow, "overflow of a signed negation", void*)

__attribute__((weak)) void __ubsan_handle_type_mismatch_v1(void* data, void* address) {
  static char text[80];
  const unsigned alignment = 1u << static_cast<TypeMismatch*>(data)->log_alignment;
  std::snprintf(text, sizeof text, "misaligned address: modulo %u it is %u", alignment,
                static_cast<unsigned>(reinterpret_cast<uintptr_t>(address) % alignment));
  report(data, text);
}

__attribute__((weak)) void __ubsan_handle_out_of_bounds(void* data, void* index) {
  static char text[80];
  std::snprintf(text, sizeof text, "index %ld is outside its dimension of the array", reinterpret_cast<long>(index));
  report(data, text);
}
}
