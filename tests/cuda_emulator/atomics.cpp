// atomicAdd, atomicMin, atomicMax: one access that races with ordinary ones, not with its like.
#include "access.h"
#include "include/cuda_runtime.h"
#include "symbols.h"

namespace emu {
namespace {

template <class T, class Change>
T change(T* address, const void* code, Change&& change) {
  if (!now.running) fail("an atomic operation is called outside a kernel");
  check<sizeof(T), Kind::atomic>(address, code);
  const T old = *address;
  *address = change(old);
  return old;
}

}  // namespace
}  // namespace emu

#define EMU_ATOMICS(T)                                                                                            \
  T atomicAdd(T* address, T value) {                                                                              \
    return emu::change(address, __builtin_return_address(0), [&](T old) { return static_cast<T>(old + value); }); \
  }                                                                                                               \
  T atomicMin(T* address, T value) {                                                                              \
    return emu::change(address, __builtin_return_address(0), [&](T old) { return value < old ? value : old; });   \
  }                                                                                                               \
  T atomicMax(T* address, T value) {                                                                              \
    return emu::change(address, __builtin_return_address(0), [&](T old) { return old < value ? value : old; });   \
  }
EMU_ATOMICS(int)
EMU_ATOMICS(unsigned)
EMU_ATOMICS(unsigned long long)

float atomicAdd(float* address, float value) {
  if (emu::now.running && !emu::options().float_atomics) {
    emu::begin_report();
    emu::fail(
        "atomicAdd of floats: the bits of the sum depend on the order of the threads (float-atomics=on allows it)",
        emu::source_line(__builtin_return_address(0)));
  }
  return emu::change(address, __builtin_return_address(0), [&](float old) { return old + value; });
}
