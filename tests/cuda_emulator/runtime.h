// What the runtime's functions and cuBLAS share: the queue of the one stream, the device's limits, errors.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "include/cuda_runtime.h"

namespace emu {

inline constexpr size_t kShared = 48 * 1024;       // that a block may have without asking
inline constexpr size_t kSharedOptIn = 99 * 1024;  // and after cudaFuncSetAttribute
inline constexpr int kMaxGrid = 65535;             // of y and z

// Keeps an error for cudaGetLastError, and returns it.
cudaError_t remember(cudaError_t error);

// What every function returns on a machine that is not fit for CUDA.
cudaError_t machine_error();

#define EMU_NEEDS_MACHINE() \
  if (const cudaError_t error = machine_error(); error != cudaSuccess) return remember(error)

// Runs when the host synchronises, after everything that came before.
void enqueue(std::function<void()> work);

// Runs what is in the queue; throws what goes wrong there and forgets the rest.
void synchronise();

// Throws unless [pointer, pointer + bytes) lies in one live allocation of device or managed memory. `what` begins the
// message.
void require_device_range(const std::string& what, const void* pointer, size_t bytes);

// The same, and that all of it has been written.
void require_initialised(const std::string& what, const void* pointer, size_t bytes);

// Names accesses that the operating system stops: the host's to device memory, and of kernels what no callback has
// seen.
void watch_faults();

}  // namespace emu
