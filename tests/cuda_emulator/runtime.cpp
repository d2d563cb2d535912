// The functions of the CUDA runtime for an emulated device.
#include "runtime.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "include/cuda_runtime.h"
#include "memory.h"
#include "scheduler.h"
#include "shadow.h"

struct CUstream_st {};
struct CUevent_st {
  std::chrono::steady_clock::time_point time;
  bool recorded = false;
};

namespace emu {
namespace {

std::vector<std::function<void()>> g_queue;
std::string g_unreported;  // an error that came up where nothing can be thrown
std::set<cudaStream_t> g_streams;
std::map<const void*, size_t> g_dynamic_limits;  // of kernels for which cudaFuncSetAttribute was called

bool known_stream(cudaStream_t stream) { return stream == nullptr || g_streams.count(stream) > 0; }

// --- the queue -------------------------------------------------------------------------------------------------------

// A program that ends without synchronising has launched kernels that nobody checked.
void run_the_rest() {
  try {
    synchronise();
  } catch (const Error& error) {
    std::fprintf(stderr, "emulator: %s\n", error.what());
    std::fflush(nullptr);
    _Exit(1);
  }
}

// For functions that destructors call: the error waits for the next function that can throw.
void synchronise_quietly() {
  if (std::uncaught_exceptions() > 0) {
    g_queue.clear();
    return;
  }
  try {
    synchronise();
  } catch (const Error& error) {
    g_unreported = error.what();
  }
}

// --- launches --------------------------------------------------------------------------------------------------------

cudaError_t check_launch(const cudaLaunchConfig_t& config, const void* kernel) {
  const dim3 grid = config.gridDim, block = config.blockDim;
  if (config.numAttrs > 0) throw Error("launch attributes are not supported by the emulator");
  if (!known_stream(config.stream)) return cudaErrorInvalidResourceHandle;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || block.x == 0 || block.y == 0 || block.z == 0 ||
      grid.x > 0x7fffffff || grid.y > kMaxGrid || grid.z > kMaxGrid || block.x > kMaxThreads || block.y > kMaxThreads ||
      block.z > 64 || static_cast<uint64_t>(block.x) * block.y * block.z > kMaxThreads) {
    return cudaErrorInvalidConfiguration;
  }
  const auto limit = g_dynamic_limits.find(kernel);
  if (config.dynamicSmemBytes > (limit == g_dynamic_limits.end() ? kShared : limit->second)) {
    return cudaErrorInvalidValue;
  }
  if (static_cast<uint64_t>(grid.x) * grid.y * grid.z > kMaxBlocks) {
    throw Error("the emulator runs at most " + std::to_string(kMaxBlocks) + " blocks in a launch");
  }
  return options().fault == Fault::no_image ? cudaErrorNoKernelImageForDevice : cudaSuccess;
}

// --- copies ----------------------------------------------------------------------------------------------------------

const char* name_of(cudaMemcpyKind kind) {
  switch (kind) {
    case cudaMemcpyHostToHost:
      return "cudaMemcpyHostToHost";
    case cudaMemcpyHostToDevice:
      return "cudaMemcpyHostToDevice";
    case cudaMemcpyDeviceToHost:
      return "cudaMemcpyDeviceToHost";
    case cudaMemcpyDeviceToDevice:
      return "cudaMemcpyDeviceToDevice";
    default:
      return "cudaMemcpyDefault";
  }
}

void require_host(const std::string& what, const void* pointer, size_t bytes) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(pointer);
  if (in_device_pool(address)) throw Error(what + " is a device pointer: " + describe_address(address));
  const Allocation* allocation = find(pointer);
  if (allocation && address + bytes > allocation->address + allocation->bytes) {
    throw Error(what + " is too short for " + std::to_string(bytes) + " bytes: " + describe_address(address));
  }
}

struct Copy {
  void* to;
  const void* from;
  size_t bytes;
  bool to_device, from_device;
  std::string name;
};

Copy checked_copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, const char* function) {
  const bool guess = kind == cudaMemcpyDefault;
  Copy copy{to,
            from,
            bytes,
            kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice,
            kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice,
            std::string(function) + " with " + name_of(kind)};
  if (guess) copy.to_device = in_space(to), copy.from_device = in_space(from);
  const std::string destination = copy.name + ": the destination", source = copy.name + ": the source";
  copy.to_device ? require_device_range(destination, to, bytes) : require_host(destination, to, bytes);
  copy.from_device ? require_device_range(source, from, bytes) : require_host(source, from, bytes);
  return copy;
}

void set_initialised(const void* pointer, size_t bytes) {
  set_state(reinterpret_cast<uintptr_t>(pointer), bytes, kAllocated | kInitialised);
}

void run_copy(const Copy& copy) {
  if (copy.to_device) require_device_range(copy.name + ": the destination", copy.to, copy.bytes);
  if (copy.from_device && !copy.to_device) require_initialised(copy.name + ": the source", copy.from, copy.bytes);
  DeviceAccess access;
  std::memmove(copy.to, copy.from, copy.bytes);
  if (!copy.to_device) return;
  if (!copy.from_device) return set_initialised(copy.to, copy.bytes);
  const uint8_t* from = shadow.state + (reinterpret_cast<uintptr_t>(copy.from) - space.base);
  uint8_t* to = shadow.state + (reinterpret_cast<uintptr_t>(copy.to) - space.base);
  for (size_t i = 0; i < copy.bytes; ++i) to[i] = from[i] & (kAllocated | kInitialised);
}

bool is_pinned(const void* pointer) {
  const Allocation* allocation = find(pointer);
  return allocation && allocation->pool == Pool::pinned;
}

cudaError_t allocate_for(void** pointer, size_t bytes, Pool pool) {
  EMU_NEEDS_MACHINE();
  if (!pointer || (bytes == 0 && pool == Pool::managed)) return remember(cudaErrorInvalidValue);
  *pointer = bytes == 0 ? nullptr : allocate(pool, bytes);
  watch_faults();
  return *pointer || bytes == 0 ? cudaSuccess : remember(cudaErrorMemoryAllocation);
}

cudaError_t free_for(void* pointer, bool pinned) {
  EMU_NEEDS_MACHINE();
  if (!pointer) return cudaSuccess;
  synchronise_quietly();
  return release(pointer, pinned) ? cudaSuccess : remember(cudaErrorInvalidValue);
}

}  // namespace

void enqueue(std::function<void()> work) {
  static const int registered = std::atexit(run_the_rest);  // so it comes before the destructors of static variables
  if (registered != 0) throw Error("the emulator cannot register a function with atexit");
  g_queue.push_back(std::move(work));
}

void synchronise() {
  if (!g_unreported.empty()) {
    g_queue.clear();
    throw Error(std::exchange(g_unreported, ""));
  }
  if (g_queue.empty()) return;
  const std::vector<std::function<void()>> work = std::exchange(g_queue, {});
  DeviceAccess access;
  watch_faults();
  for (const auto& item : work) item();
}

void require_device_range(const std::string& what, const void* pointer, size_t bytes) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(pointer);
  const Allocation* allocation = find(pointer);
  if (!in_space(pointer)) throw Error(what + " is a host pointer");
  if (!allocation) throw Error(what + " is not allocated: " + describe_address(address));
  if (bytes > allocation->address + allocation->bytes - address) {
    throw Error(what + " is too short for " + std::to_string(bytes) + " bytes: " + describe_address(address));
  }
}

void require_initialised(const std::string& what, const void* pointer, size_t bytes) {
  require_device_range(what, pointer, bytes);
  const uintptr_t address = reinterpret_cast<uintptr_t>(pointer);
  size_t first = 0;
  if (!options().check || is_initialised(address, bytes, &first)) return;
  throw Error(what + " is not initialised: " + describe_address(address + first));
}

cudaError_t enqueue_launch(const cudaLaunchConfig_t& config, const void* kernel, void (*call)(const void*, const void*),
                           const void* arguments, size_t bytes) {
  EMU_NEEDS_MACHINE();
  if (now.running) fail("a kernel launches a kernel, which is not supported");
  if (const cudaError_t error = check_launch(config, kernel); error != cudaSuccess) return remember(error);
  Launch launch;
  launch.kernel = kernel;
  launch.call = call;
  launch.grid = config.gridDim;
  launch.block = config.blockDim;
  launch.dynamic_bytes = config.dynamicSmemBytes;
  launch.shared_limit = g_dynamic_limits.count(kernel) ? kSharedOptIn : kShared;
  const auto* first = static_cast<const unsigned char*>(arguments);
  const std::vector<unsigned char> copy(first, first + bytes);
  enqueue([launch, copy]() mutable {
    launch.arguments = copy.data();
    launch.argument_bytes = copy.size();
    map_space();
    run(launch);
  });
  return cudaSuccess;
}

}  // namespace emu

using namespace emu;

// --- memory ----------------------------------------------------------------------------------------------------------

cudaError_t cudaMalloc(void** pointer, size_t bytes) { return allocate_for(pointer, bytes, Pool::device); }
cudaError_t cudaMallocManaged(void** pointer, size_t bytes, unsigned int) {
  return allocate_for(pointer, bytes, Pool::managed);
}
cudaError_t cudaMallocHost(void** pointer, size_t bytes) { return allocate_for(pointer, bytes, Pool::pinned); }
cudaError_t cudaFree(void* pointer) { return free_for(pointer, false); }
cudaError_t cudaFreeHost(void* pointer) { return free_for(pointer, true); }

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  EMU_NEEDS_MACHINE();
  synchronise();
  if (bytes > 0) run_copy(checked_copy(to, from, bytes, kind, "cudaMemcpy"));
  return cudaSuccess;
}

// As on a device, only pinned host memory is copied behind the host's back.
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  EMU_NEEDS_MACHINE();
  if (!known_stream(stream)) return remember(cudaErrorInvalidResourceHandle);
  if (bytes == 0) return cudaSuccess;
  const Copy copy = checked_copy(to, from, bytes, kind, "cudaMemcpyAsync");
  enqueue([copy] { run_copy(copy); });
  const bool behind = (copy.to_device || is_pinned(to)) && (copy.from_device || is_pinned(from));
  if (!behind) synchronise();
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* pointer, int value, size_t bytes, cudaStream_t stream) {
  EMU_NEEDS_MACHINE();
  if (!known_stream(stream)) return remember(cudaErrorInvalidResourceHandle);
  if (bytes == 0) return cudaSuccess;
  require_device_range("cudaMemset: the destination", pointer, bytes);
  enqueue([=] {
    require_device_range("cudaMemset: the destination", pointer, bytes);
    std::memset(pointer, value, bytes);
    set_initialised(pointer, bytes);
  });
  return cudaSuccess;
}

cudaError_t cudaMemset(void* pointer, int value, size_t bytes) {
  return cudaMemsetAsync(pointer, value, bytes, nullptr);
}

// --- streams and events ----------------------------------------------------------------------------------------------

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  EMU_NEEDS_MACHINE();
  *stream = new CUstream_st;
  g_streams.insert(*stream);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  EMU_NEEDS_MACHINE();
  synchronise_quietly();
  if (g_streams.erase(stream) == 0) return remember(cudaErrorInvalidResourceHandle);
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  EMU_NEEDS_MACHINE();
  if (!known_stream(stream)) return remember(cudaErrorInvalidResourceHandle);
  synchronise();
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() { return cudaStreamSynchronize(nullptr); }

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  EMU_NEEDS_MACHINE();
  *event = new CUevent_st;
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  EMU_NEEDS_MACHINE();
  synchronise_quietly();
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  EMU_NEEDS_MACHINE();
  if (!known_stream(stream)) return remember(cudaErrorInvalidResourceHandle);
  enqueue([event] {
    event->time = std::chrono::steady_clock::now();
    event->recorded = true;
  });
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaStreamSynchronize(nullptr); }

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  EMU_NEEDS_MACHINE();
  if (!start->recorded || !end->recorded) return remember(cudaErrorNotReady);
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - start->time).count();
  return cudaSuccess;
}

// --- kernels ---------------------------------------------------------------------------------------------------------

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  EMU_NEEDS_MACHINE();
  if (options().fault == Fault::no_image) return remember(cudaErrorNoKernelImageForDevice);
  if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout) return cudaSuccess;
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 || value > static_cast<int>(kSharedOptIn)) {
    return remember(cudaErrorInvalidValue);
  }
  g_dynamic_limits[kernel] = static_cast<size_t>(value);
  return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* kernel) {
  EMU_NEEDS_MACHINE();
  if (options().fault == Fault::no_image) return remember(cudaErrorNoKernelImageForDevice);
  const auto limit = g_dynamic_limits.find(kernel);
  cudaFuncAttributes a{};
  a.maxThreadsPerBlock = kMaxThreads;
  a.numRegs = 32;
  a.ptxVersion = a.binaryVersion = 80;
  a.maxDynamicSharedSizeBytes = static_cast<int>(limit == g_dynamic_limits.end() ? kShared : limit->second);
  *attributes = a;
  return cudaSuccess;
}
