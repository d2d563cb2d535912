// The GPU as the model and the programs see it: one device, one stream, memory. No CUDA header is needed to include this.
// What a user can change is an Error; whatever else CUDA refuses is a Failure with the call, its file and line.
#pragma once

#include <cstddef>
#include <string>

namespace cuda {

struct Device {
  std::string name;  // "NVIDIA A100-SXM4-80GB"
  int major, minor;  // compute capability
  int multiprocessors;
  size_t total_bytes, free_bytes;  // when it was opened
  int driver, runtime;             // CUDA versions, see version_text
};

// "13.0" of 13000, as CUDA numbers its versions: 1000 major + 10 minor.
std::string version_text(int version);

// Opens the device (the first that CUDA_VISIBLE_DEVICES leaves visible), its stream and cuBLAS; once per process, later
// calls return the same. Error, in one sentence each: there is no driver, it is too old for this program, there is no
// device, the program holds no kernels for the device's architecture, or the device has no memory left. tf32: products
// of fp32 operands may round them to 10 bits of mantissa.
const Device& open_device(bool tf32 = false);

// Memory that is free now, in bytes.
size_t free_bytes();

// Device memory, aligned to 256 bytes, not initialised; null for 0 bytes. Error if there is not enough.
void* allocate(size_t bytes);
void release(void* memory);  // does not throw

// In the order of the stream. `to_device` has read its source, which must be ordinary memory (not pinned), and `to_host`
// has written its destination, on return; only to_host waits for what was asked of the device before.
void copy_to_device(void* to, const void* from, size_t bytes);
void copy_to_host(void* to, const void* from, size_t bytes);
void fill_zero(void* memory, size_t bytes);

// Waits until everything that was asked of the device is done. Failure if a kernel failed.
void synchronize();

// Memory that both the host and kernels may touch, the host only after synchronize(): for tests.
void* allocate_managed(size_t bytes);
void release_managed(void* memory);

// Scratch memory for kernels, which follow one another on the stream and so can share it: allocated once, before
// training, the largest that <layer>_shared_floats asks for. The first argument of the CPU's reserve_scratch, memory of
// each host thread, is of no use here.
void reserve_scratch(size_t each_thread, size_t shared);
// At least `floats` long, aligned to 256 bytes; grows where too little was reserved (after waiting for the stream).
float* shared_scratch(size_t floats);

}  // namespace cuda
