// What the emulator's own tests share: arrays on the device, launches, and the kernels with faults and without.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

inline void require_success(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

// Device memory that is freed at the end of its scope.
template <class T>
struct DeviceArray {
  T* data = nullptr;
  size_t count;

  explicit DeviceArray(size_t count) : count(count) { require_success(cudaMalloc(&data, count * sizeof(T))); }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    require_success(cudaMemcpy(data, values.data(), count * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~DeviceArray() { cudaFree(data); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  std::vector<T> values() const {
    std::vector<T> result(count);
    require_success(cudaMemcpy(result.data(), data, count * sizeof(T), cudaMemcpyDeviceToHost));
    return result;
  }
};

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, Arguments... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  require_success(cudaLaunchKernelEx(&config, kernel, arguments...));
}

// 0, 1, 2, ... times `step`.
inline std::vector<float> ramp(size_t count, float step = 1) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i) * step;
  return values;
}

// A kernel with a fault: `run` launches it and synchronises, and must throw an emu::Error that contains one of `texts`.
struct PlantedBug {
  const char* name;
  void (*run)();
  std::vector<std::string> texts;
};
std::vector<PlantedBug> planted_bugs();

// A kernel without one: `run` returns its result, which must be the expected one, and the same bits in every schedule.
struct KnownGood {
  const char* name;
  std::vector<float> (*run)();
  std::vector<float> (*expected)();
  float tolerance;
};
std::vector<KnownGood> known_good();

// Adds `n` ones to a sum by atomicAdd of floats of different sizes; the bits depend on the order.
float sum_with_float_atomics();

// A kernel that waits for a number that only another block could write.
void wait_for_another_block();

// A kernel that adds 1 to its elements, for the tests of the host side.
void launch_increment(float* values, int n);
// A kernel that uses so much dynamic shared memory, and the attribute that allows it.
void launch_with_shared(size_t bytes, size_t allowed);
void launch_with_block(dim3 grid, dim3 block);
