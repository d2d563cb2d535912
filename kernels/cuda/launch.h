// The one way in which kernels are started and CUDA is called: every result is checked where it arises.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <utility>

namespace cuda {

// Throws Failure unless `result` is a success; names the call, where it stands and what CUDA says.
void check(cudaError_t result, const char* call, const char* file, int line);
void check(cublasStatus_t result, const char* call, const char* file, int line);
#define CUDA_CHECK(call) ::cuda::check((call), #call, __FILE__, __LINE__)

// The stream on which everything runs, and cuBLAS on that stream. The device must be open.
cudaStream_t stream();
cublasHandle_t cublas();

struct Grid {
  dim3 blocks, threads;
  size_t shared_bytes =
      0;  // dynamic shared memory; above 48 KiB the kernel must have been allowed it, see allow_shared
};

// CUDA_LAUNCH(kernel<...>, (Grid{...}), arguments...): starts the kernel, does not wait.
#define CUDA_LAUNCH(kernel, grid, ...) ::cuda::launch(#kernel, __FILE__, __LINE__, kernel, grid, __VA_ARGS__)

template <class... Parameters, class... Arguments>
void launch(const char* name, const char* file, int line, void (*kernel)(Parameters...), const Grid& grid,
            Arguments&&... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid.blocks;
  config.blockDim = grid.threads;
  config.dynamicSmemBytes = grid.shared_bytes;
  config.stream = stream();
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...), name, file, line);
}

}  // namespace cuda
