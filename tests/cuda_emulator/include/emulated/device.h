// The device side of the stand-in: qualifiers, built-in variables, shared memory, barriers, warp operations, atomics
// and arithmetic. The functions that matter are in ../../*.cpp, which are compiled without instrumentation.
#pragma once

#include <math.h>

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "../../emulator.h"
#include "vector_types.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(bytes) alignas(bytes)

// Constant for the thread that reads them, so the compiler need not tell the emulator of each access; the scheduler
// writes them whenever it goes from one thread to another.
#ifndef EMU_DEFINES_BUILTIN_VARIABLES
extern const uint3 threadIdx;
extern const uint3 blockIdx;
extern const dim3 blockDim;
extern const dim3 gridDim;
#endif
inline constexpr int warpSize = 32;

// --- shared memory ---------------------------------------------------------------------------------------------------
// SHARED_ARRAY(float, tile, [32][33]);  under nvcc: #define SHARED_ARRAY(T, name, ...) __shared__ T name __VA_ARGS__
// DYNAMIC_SHARED(float, buffer);        a float* to the launch's dynamic shared memory

#define SHARED_ARRAY(T, name, ...)                                                                   \
  T(&name)                                                                                           \
  __VA_ARGS__ = *reinterpret_cast<T(*) __VA_ARGS__>([] {                                             \
    static emu::SharedSlot slot{sizeof(T __VA_ARGS__), alignof(T), #name, __FILE__, __LINE__, 0, 0}; \
    return emu::shared_array(slot);                                                                  \
  }())
#define DYNAMIC_SHARED(T, name) T* const name = static_cast<T*>(emu::dynamic_shared(alignof(T)))

// --- barriers and warp operations ------------------------------------------------------------------------------------

#define EMU_CALLER const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(EMU_CALLER) { emu::sync_threads({file, line}); }
inline void __syncwarp(unsigned mask = 0xffffffff, EMU_CALLER) { emu::sync_warp(mask, {file, line}); }

namespace emu {

template <class T>
T shuffle(Shuffle kind, unsigned mask, T value, int lane, int width, Caller caller) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8), "shuffles take 4 or 8 bytes");
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  return __builtin_bit_cast(
      T, static_cast<Bits>(shuffle_bits(kind, mask, __builtin_bit_cast(Bits, value), lane, width, caller)));
}

}  // namespace emu

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = warpSize, EMU_CALLER) {
  return emu::shuffle(emu::Shuffle::index, mask, value, lane, width, {file, line});
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = warpSize, EMU_CALLER) {
  return emu::shuffle(emu::Shuffle::exclusive_or, mask, value, lanes, width, {file, line});
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned lanes, int width = warpSize, EMU_CALLER) {
  return emu::shuffle(emu::Shuffle::up, mask, value, static_cast<int>(lanes), width, {file, line});
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned lanes, int width = warpSize, EMU_CALLER) {
  return emu::shuffle(emu::Shuffle::down, mask, value, static_cast<int>(lanes), width, {file, line});
}
inline unsigned __ballot_sync(unsigned mask, int predicate, EMU_CALLER) {
  return emu::vote(emu::Vote::ballot, mask, predicate, {file, line});
}
inline int __any_sync(unsigned mask, int predicate, EMU_CALLER) {
  return static_cast<int>(emu::vote(emu::Vote::any, mask, predicate, {file, line}));
}
inline int __all_sync(unsigned mask, int predicate, EMU_CALLER) {
  return static_cast<int>(emu::vote(emu::Vote::all, mask, predicate, {file, line}));
}

// --- atomics ---------------------------------------------------------------------------------------------------------

int atomicAdd(int* address, int value);
unsigned atomicAdd(unsigned* address, unsigned value);
unsigned long long atomicAdd(unsigned long long* address, unsigned long long value);
int atomicMin(int* address, int value);
unsigned atomicMin(unsigned* address, unsigned value);
unsigned long long atomicMin(unsigned long long* address, unsigned long long value);
int atomicMax(int* address, int value);
unsigned atomicMax(unsigned* address, unsigned value);
unsigned long long atomicMax(unsigned long long* address, unsigned long long value);
// An error unless the option float-atomics=on is set: the bits of the sum would depend on the order of the threads.
float atomicAdd(float* address, float value);

// --- loads, stores, bits, arithmetic ---------------------------------------------------------------------------------

template <class T>
T __ldg(const T* address) {
  return *address;
}
template <class T>
T __ldcs(const T* address) {
  return *address;
}
template <class T>
T __ldcg(const T* address) {
  return *address;
}
template <class T>
void __stcs(T* address, std::type_identity_t<T> value) {
  *address = value;
}
template <class T>
void __stcg(T* address, std::type_identity_t<T> value) {
  *address = value;
}

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline unsigned __umulhi(unsigned x, unsigned y) {
  return static_cast<unsigned>((static_cast<unsigned long long>(x) * y) >> 32);
}
inline unsigned __float_as_uint(float x) { return __builtin_bit_cast(unsigned, x); }
inline float __uint_as_float(unsigned x) { return __builtin_bit_cast(float, x); }
inline int __float_as_int(float x) { return __builtin_bit_cast(int, x); }
inline float __int_as_float(int x) { return __builtin_bit_cast(float, x); }
inline int __float2int_rn(float x) { return static_cast<int>(nearbyintf(x)); }

inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1 / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline double rsqrt(double x) { return 1 / sqrt(x); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __saturatef(float x) { return fminf(fmaxf(x, 0), 1); }

inline int min(int x, int y) { return y < x ? y : x; }
inline unsigned min(unsigned x, unsigned y) { return y < x ? y : x; }
inline long min(long x, long y) { return y < x ? y : x; }
inline unsigned long min(unsigned long x, unsigned long y) { return y < x ? y : x; }
inline long long min(long long x, long long y) { return y < x ? y : x; }
inline unsigned long long min(unsigned long long x, unsigned long long y) { return y < x ? y : x; }
inline float min(float x, float y) { return fminf(x, y); }
inline int max(int x, int y) { return x < y ? y : x; }
inline unsigned max(unsigned x, unsigned y) { return x < y ? y : x; }
inline long max(long x, long y) { return x < y ? y : x; }
inline unsigned long max(unsigned long x, unsigned long y) { return x < y ? y : x; }
inline long long max(long long x, long long y) { return x < y ? y : x; }
inline unsigned long long max(unsigned long long x, unsigned long long y) { return x < y ? y : x; }
inline float max(float x, float y) { return fmaxf(x, y); }

[[noreturn]] inline void __trap() { emu::trap(); }
