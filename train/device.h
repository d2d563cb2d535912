// The device that a program runs on, as its banner and its records name it.
#pragma once

#include <cstddef>
#include <string>

#include "kernels/cuda/runtime.h"
#include "train/console.h"
#include "train/memory.h"
#include "train/threads.h"

struct DeviceFacts {
  std::string banner;  // a line for people
  std::string record;  // "cpu", or the name of the GPU
  size_t free_bytes;   // memory that the model may take
};

namespace cpu {
inline DeviceFacts describe_device(const ThreadCount& threads, bool) {
  const char* counted = threads.threads == 1 ? " thread: " : " threads: ";
  return {"cpu, " + std::to_string(threads.threads) + counted + threads.reason, "cpu", available_memory_bytes()};
}
}  // namespace cpu

namespace cuda {
// Opens the GPU. tf32: see open_device.
inline DeviceFacts describe_device(const ThreadCount&, bool tf32) {
  const Device& device = open_device(tf32);
  return {device.name + " (sm_" + std::to_string(device.major) + std::to_string(device.minor) + "), CUDA " +
              version_text(device.runtime) + ", " + format_bytes(free_bytes()) + " of " +
              format_bytes(device.total_bytes) + " free" + (tf32 ? ", TF32 products" : ""),
          device.name, free_bytes()};
}
}  // namespace cuda
