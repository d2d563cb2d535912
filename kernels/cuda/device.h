// What kernels share: shared memory, vectors of numbers in memory and as floats, reductions over a warp and a block.
// All arithmetic is fp32; a kernel sees the type S of what is stored only where it loads and stores.
#pragma once

#include <cuda_runtime.h>

#include <cfloat>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/precision.h"

// SHARED_ARRAY(float, tile, [32][33]): memory of a block, with its size. DYNAMIC_SHARED(float, tile): the memory that the
// launch gave it (Grid::shared_bytes), aligned to 16 bytes. Not initialised. The emulator of the tests has its own.
#ifndef SHARED_ARRAY
#define SHARED_ARRAY(Type, name, ...) __shared__ Type name __VA_ARGS__
#define DYNAMIC_SHARED(Type, name) Type* name = reinterpret_cast<Type*>(::cuda::dynamic_shared)
namespace cuda {
extern __shared__ __align__(16) unsigned char dynamic_shared[];
}
#endif

namespace cuda {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffu;

// ---- Vectors --------------------------------------------------------------------------------------------------------

// W numbers, as a thread computes with them.
template <int W>
struct Floats {
  float x[W];

  __device__ float& operator[](int k) { return x[k]; }
  __device__ float operator[](int k) const { return x[k]; }
};

// W numbers, as they lie in memory: what one instruction loads or stores, 128 bits at most.
template <class S, int W>
struct alignas(W * sizeof(S)) Packed {
  static_assert(W * sizeof(S) <= 16);
  S x[W];
};

// Rounds as round_to<bf16> does: to nearest, ties to even, every NaN to 0x7fff.
__device__ inline bf16 round_to_bf16(float x) {
#ifdef __CUDACC__
  bf16 rounded;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(rounded.bits) : "f"(x));
  return rounded;
#else
  return round_to<bf16>(x);
#endif
}

// Two at once, in one register: `low` in its lower half.
__device__ inline uint32_t round_to_bf16_pair(float low, float high) {
#ifdef __CUDACC__
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#else
  return uint32_t(round_to<bf16>(high).bits) << 16 | round_to<bf16>(low).bits;
#endif
}

template <class S>
__device__ S narrow(float x);
template <>
__device__ inline float narrow<float>(float x) {
  return x;
}
template <>
__device__ inline bf16 narrow<bf16>(float x) {
  return round_to_bf16(x);
}

// The numbers p[0] .. p[W-1]; p is aligned to them, to 16 bytes at most.
template <int W, class S>
__device__ Floats<W> load(const S* p) {
  constexpr int kAtOnce = W * sizeof(S) <= 16 ? W : int(16 / sizeof(S));
  Floats<W> result;
#pragma unroll
  for (int i = 0; i < W; i += kAtOnce) {
    const Packed<S, kAtOnce> packed = *reinterpret_cast<const Packed<S, kAtOnce>*>(p + i);
#pragma unroll
    for (int k = 0; k < kAtOnce; k++) result[i + k] = to_float(packed.x[k]);
  }
  return result;
}

// Writes them there, rounded to S.
template <int W, class S>
__device__ void store(S* p, const Floats<W>& value) {
  constexpr int kAtOnce = W * sizeof(S) <= 16 ? W : int(16 / sizeof(S));
#pragma unroll
  for (int i = 0; i < W; i += kAtOnce) {
    Packed<S, kAtOnce> packed;
#pragma unroll
    for (int k = 0; k < kAtOnce; k++) packed.x[k] = narrow<S>(value[i + k]);
    *reinterpret_cast<Packed<S, kAtOnce>*>(p + i) = packed;
  }
}

// Number of this thread in the grid.
__device__ inline size_t grid_thread() { return size_t(blockIdx.x) * blockDim.x + threadIdx.x; }

// The threads of a block share begin .. end-1: f(i, w) for the numbers i .. i+W-1, W = decltype(w)::value, that is for
// whole vectors where i is a multiple of W, and for the numbers before and behind them one by one.
template <int W, class F>
__device__ void for_range(size_t begin, size_t end, F&& f) {
  constexpr std::integral_constant<int, W> kVector;
  constexpr std::integral_constant<int, 1> kOne;
  const size_t first = min((begin + W - 1) / W * W, end), last = max(end / W * W, first);
  if (W > 1 && begin + threadIdx.x < first) f(begin + threadIdx.x, kOne);
  for (size_t i = first + threadIdx.x * W; i < last; i += blockDim.x * W) f(i, kVector);
  if (W > 1 && last + threadIdx.x < end) f(last + threadIdx.x, kOne);
}

// ---- Reductions -----------------------------------------------------------------------------------------------------
// Every lane of a warp, every thread of a block calls them and gets the same bits: partners exchange what they have, at
// distances 16, 8, 4, 2, 1, and both add the same two numbers.

template <class T>
__device__ T warp_sum(T x) {
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) x += __shfl_xor_sync(kAllLanes, x, distance);
  return x;
}

__device__ inline float warp_max(float x) {
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, distance));
  return x;
}

// The same over a block of whole warps: first each warp, then what the warps found; `none` changes nothing.
template <class T, class Reduce>
__device__ T block_reduce(T x, T none, Reduce reduce_warp) {
  SHARED_ARRAY(T, of_warp, [kWarp]);
  const unsigned warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  x = reduce_warp(x);
  __syncthreads();  // the block may still read what it found last time
  if (lane == 0) of_warp[warp] = x;
  __syncthreads();
  return reduce_warp(lane < blockDim.x / kWarp ? of_warp[lane] : none);
}

template <class T>
__device__ T block_sum(T x) {
  return block_reduce(x, T(0), [](T y) { return warp_sum(y); });
}

__device__ inline float block_max(float x) {
  return block_reduce(x, -FLT_MAX, [](float y) { return warp_max(y); });
}

}  // namespace cuda
