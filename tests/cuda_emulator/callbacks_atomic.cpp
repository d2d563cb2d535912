// The callbacks for C++ atomics: what std::atomic, std::shared_ptr or the guard of a static variable becomes in a file
// compiled with -fsanitize=thread. Done for the host; an error in a kernel, whose atomics are atomicAdd and its kind.
#include <cstdint>

#include "scheduler.h"
#include "symbols.h"

namespace {

void refuse_in_kernel(const void* code) {
  if (!emu::now.running) return;
  emu::begin_report();
  emu::fail("a C++ atomic is used in a kernel", emu::source_line(code));
}

}  // namespace

#define EMU_FETCH(bits, operation)                                                                                \
  uint##bits##_t __tsan_atomic##bits##_fetch_##operation(volatile uint##bits##_t* p, uint##bits##_t value, int) { \
    refuse_in_kernel(__builtin_return_address(0));                                                                \
    return __atomic_fetch_##operation(p, value, __ATOMIC_SEQ_CST);                                                \
  }

#define EMU_ATOMIC(bits)                                                                                         \
  uint##bits##_t __tsan_atomic##bits##_load(const volatile uint##bits##_t* p, int) {                             \
    refuse_in_kernel(__builtin_return_address(0));                                                               \
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                                 \
  }                                                                                                              \
  void __tsan_atomic##bits##_store(volatile uint##bits##_t* p, uint##bits##_t value, int) {                      \
    refuse_in_kernel(__builtin_return_address(0));                                                               \
    __atomic_store_n(p, value, __ATOMIC_SEQ_CST);                                                                \
  }                                                                                                              \
  uint##bits##_t __tsan_atomic##bits##_exchange(volatile uint##bits##_t* p, uint##bits##_t value, int) {         \
    refuse_in_kernel(__builtin_return_address(0));                                                               \
    return __atomic_exchange_n(p, value, __ATOMIC_SEQ_CST);                                                      \
  }                                                                                                              \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile uint##bits##_t* p, uint##bits##_t* expected,        \
                                                    uint##bits##_t value, int, int) {                            \
    refuse_in_kernel(__builtin_return_address(0));                                                               \
    return __atomic_compare_exchange_n(p, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);           \
  }                                                                                                              \
  int __tsan_atomic##bits##_compare_exchange_weak(volatile uint##bits##_t* p, uint##bits##_t* expected,          \
                                                  uint##bits##_t value, int, int) {                              \
    return __tsan_atomic##bits##_compare_exchange_strong(p, expected, value, 0, 0);                              \
  }                                                                                                              \
  uint##bits##_t __tsan_atomic##bits##_compare_exchange_val(volatile uint##bits##_t* p, uint##bits##_t expected, \
                                                            uint##bits##_t value, int, int) {                    \
    __tsan_atomic##bits##_compare_exchange_strong(p, &expected, value, 0, 0);                                    \
    return expected;                                                                                             \
  }                                                                                                              \
  EMU_FETCH(bits, add)                                                                                           \
  EMU_FETCH(bits, sub)                                                                                           \
  EMU_FETCH(bits, and)                                                                                           \
  EMU_FETCH(bits, or)                                                                                            \
  EMU_FETCH(bits, xor)                                                                                           \
  EMU_FETCH(bits, nand)

extern "C" {

EMU_ATOMIC(8)
EMU_ATOMIC(16)
EMU_ATOMIC(32)
EMU_ATOMIC(64)

void __tsan_atomic_thread_fence(int) {
  refuse_in_kernel(__builtin_return_address(0));
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
void __tsan_atomic_signal_fence(int) {}
}
