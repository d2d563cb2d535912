// What the host halves of the kernel files share. CUDA is called and kernels are started here, and every result is
// checked where it arises; what a launch looks like (grid, vector width) is decided here too.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <type_traits>

#include "kernels/precision.h"

namespace cuda {

// Throws Failure unless `result` is a success; names the call, where it stands and what CUDA says.
void check(cudaError_t result, const char* call, const char* file, int line);
void check(cublasStatus_t result, const char* call, const char* file, int line);
#define CUDA_CHECK(call) ::cuda::check((call), #call, __FILE__, __LINE__)

// The stream on which everything runs, and cuBLAS on that stream. They open the device if nobody did.
cudaStream_t stream();
cublasHandle_t cublas();

// ---- Launching ------------------------------------------------------------------------------------------------------

struct Grid {
  dim3 blocks, threads;
  size_t shared_bytes = 0;  // of DYNAMIC_SHARED
};

// CUDA_LAUNCH((kernel<...>), (Grid{...}), arguments...): starts the kernel on the stream, does not wait.
#define CUDA_LAUNCH(kernel, grid, ...) ::cuda::launch(#kernel, __FILE__, __LINE__, kernel, grid, __VA_ARGS__)

template <class... Parameters, class... Arguments>
void launch(const char* name, const char* file, int line, void (*kernel)(Parameters...), const Grid& grid,
            const Arguments&... arguments) {
  constexpr size_t kGranted = 48 << 10;  // more must be asked for
  if (grid.shared_bytes > kGranted)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(grid.shared_bytes)), name, file,
          line);
  cudaLaunchConfig_t config{};
  config.gridDim = grid.blocks;
  config.blockDim = grid.threads;
  config.dynamicSmemBytes = grid.shared_bytes;
  config.stream = stream();
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...), name, file, line);
}

// ---- Grids ----------------------------------------------------------------------------------------------------------

inline constexpr unsigned kThreads = 256;  // of a block, at most, where a kernel says nothing else

inline size_t divide_up(size_t n, size_t by) { return (n + by - 1) / by; }
inline size_t round_up(size_t n, size_t to) { return divide_up(n, to) * to; }

// A thread for each of `items`.
inline Grid thread_each(size_t items) {
  return {dim3(unsigned(std::max<size_t>(1, divide_up(items, kThreads)))), kThreads};
}

// A block for each of `rows`, whose threads share the row's `items`: whole warps, no more than there is work for.
inline Grid block_each(size_t rows, size_t items, unsigned most_threads = kThreads) {
  return {dim3(unsigned(rows)), dim3(unsigned(std::clamp<size_t>(round_up(items, 32), 32, most_threads)))};
}

// ---- Vector width ---------------------------------------------------------------------------------------------------

// How many numbers of type S fill 128 bits, the most that one instruction loads.
template <class S>
inline constexpr int kVectorWidth = int(16 / sizeof(S));

// The one place where that is decided: calls run(w) with W = decltype(w)::value = kVectorWidth<S> where rows of C numbers
// of these arrays consist of whole aligned vectors of that many, else W = 1. Null pointers do not matter. C = 0: it is
// enough that the arrays are aligned, for kernels that go by for_range.
template <class S, class Run>
void with_width(size_t C, std::initializer_list<const void*> arrays, Run&& run) {
  const bool aligned = std::all_of(arrays.begin(), arrays.end(),
                                   [](const void* array) { return reinterpret_cast<uintptr_t>(array) % 16 == 0; });
  if (aligned && C % kVectorWidth<S> == 0)
    run(std::integral_constant<int, kVectorWidth<S>>{});
  else
    run(std::integral_constant<int, 1>{});
}

}  // namespace cuda
