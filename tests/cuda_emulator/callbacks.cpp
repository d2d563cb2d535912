// What the compiler calls for -fsanitize=thread. Kernel files are compiled with it and linked with this instead of the
// thread sanitizer's library. Outside a running kernel every callback returns at once, so host code in the same file
// works, on any number of threads.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "access.h"

using emu::check;
using emu::check_range;
using emu::Kind;

#define HERE __builtin_return_address(0)

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}

#define EMU_ACCESS(bytes)                                                                          \
  void __tsan_read##bytes(void* p) { check<bytes, Kind::read>(p, HERE); }                          \
  void __tsan_write##bytes(void* p) { check<bytes, Kind::write>(p, HERE); }                        \
  void __tsan_volatile_read##bytes(void* p) { check<bytes, Kind::read>(p, HERE); }                 \
  void __tsan_volatile_write##bytes(void* p) { check<bytes, Kind::write>(p, HERE); }               \
  void __tsan_unaligned_read##bytes(void* p) {                                                     \
    if (emu::now.running) check_range({reinterpret_cast<uintptr_t>(p), bytes, Kind::read, HERE});  \
  }                                                                                                \
  void __tsan_unaligned_write##bytes(void* p) {                                                    \
    if (emu::now.running) check_range({reinterpret_cast<uintptr_t>(p), bytes, Kind::write, HERE}); \
  }                                                                                                \
  void __tsan_unaligned_volatile_read##bytes(void* p) { __tsan_unaligned_read##bytes(p); }         \
  void __tsan_unaligned_volatile_write##bytes(void* p) { __tsan_unaligned_write##bytes(p); }
EMU_ACCESS(1)
EMU_ACCESS(2)
EMU_ACCESS(4)
EMU_ACCESS(8)
EMU_ACCESS(16)

void __tsan_read_range(void* p, size_t bytes) {
  if (emu::now.running) check_range({reinterpret_cast<uintptr_t>(p), bytes, Kind::read, HERE});
}
void __tsan_write_range(void* p, size_t bytes) {
  if (emu::now.running) check_range({reinterpret_cast<uintptr_t>(p), bytes, Kind::write, HERE});
}

// What newer versions of clang make of memcpy and its kind; clang 14 calls memcpy itself, which nobody checks.
void* __tsan_memcpy(void* to, const void* from, size_t bytes) {
  if (emu::now.running) {
    check_range({reinterpret_cast<uintptr_t>(from), bytes, Kind::read, HERE});
    check_range({reinterpret_cast<uintptr_t>(to), bytes, Kind::write, HERE});
  }
  return std::memmove(to, from, bytes);
}
void* __tsan_memmove(void* to, const void* from, size_t bytes) { return __tsan_memcpy(to, from, bytes); }
void* __tsan_memset(void* to, int value, size_t bytes) {
  if (emu::now.running) check_range({reinterpret_cast<uintptr_t>(to), bytes, Kind::write, HERE});
  return std::memset(to, value, bytes);
}
}
