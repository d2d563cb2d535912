#include "kernels/cuda/runtime.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "data/error.h"
#include "kernels/cuda/launch.h"

namespace cuda {

namespace {

constexpr int kLeastMajor = 8;  // bf16 on tensor cores and cp.async came with compute capability 8.0

// Exists so that the device can be asked whether this program holds code for it.
__global__ void probe_kernel() {}

std::string mebibytes(size_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

// ---- What can be wrong with a machine -------------------------------------------------------------------------------

[[noreturn]] void refuse_no_driver() {
  throw Error(
      "the NVIDIA driver, which this program needs, is not installed or not loaded on this machine: install it, or use "
      "a build without CUDA");
}

[[noreturn]] void refuse_old_driver(int driver, int runtime) {
  throw Error("the NVIDIA driver of this machine is too old: it knows CUDA up to " + version_text(driver) +
              ", and this program was built with CUDA " + version_text(runtime) +
              "; install a newer driver, or build with an older CUDA");
}

[[noreturn]] void refuse_no_device() {
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  throw Error("the NVIDIA driver shows no GPU to this program" +
              (visible ? ": CUDA_VISIBLE_DEVICES is '" + std::string(visible) + "', which must name one that exists"
                       : std::string("; this machine seems to have none")));
}

[[noreturn]] void refuse_architecture(const Device& device) {
  const std::string architecture = std::to_string(10 * device.major + device.minor);
  const std::string gpu = "the GPU, " + device.name + ", is of architecture sm_" + architecture;
  if (device.major < kLeastMajor)
    throw Error(gpu + "; this program needs sm_" + std::to_string(10 * kLeastMajor) + " or later");
  throw Error(gpu +
              ", for which this program was not built: build it with make cuda CUDA_ARCHITECTURES=" + architecture);
}

// Before the first use of the device.
void find_device(Device& device) {
  CUDA_CHECK(cudaRuntimeGetVersion(&device.runtime));
  if (cudaDriverGetVersion(&device.driver) != cudaSuccess || device.driver == 0) refuse_no_driver();
  int devices = 0;
  const cudaError_t found = cudaGetDeviceCount(&devices);
  if (found == cudaErrorInsufficientDriver) refuse_old_driver(device.driver, device.runtime);
  if (found == cudaErrorNoDevice || (found == cudaSuccess && devices == 0)) refuse_no_device();
  check(found, "cudaGetDeviceCount(&devices)", __FILE__, __LINE__);
}

void describe_device(Device& device) {
  cudaDeviceProp properties;
  CUDA_CHECK(cudaGetDeviceProperties(&properties, 0));
  device.name = properties.name;
  device.major = properties.major;
  device.minor = properties.minor;
  device.multiprocessors = properties.multiProcessorCount;
}

void require_kernels(const Device& device) {
  cudaFuncAttributes attributes;
  const cudaError_t found = cudaFuncGetAttributes(&attributes, probe_kernel);
  if (found == cudaErrorNoKernelImageForDevice || found == cudaErrorInvalidDeviceFunction) refuse_architecture(device);
  check(found, "cudaFuncGetAttributes(&attributes, probe_kernel)", __FILE__, __LINE__);
}

// ---- The device, open -----------------------------------------------------------------------------------------------

// Lives until the process ends, and the driver cleans up behind it.
struct Context {
  Device device;
  cudaStream_t stream;
  cublasHandle_t cublas;
  float* scratch = nullptr;
  size_t scratch_floats = 0;

  explicit Context(bool tf32) {
    find_device(device);
    describe_device(device);
    CUDA_CHECK(cudaSetDevice(0));
    require_kernels(device);
    CUDA_CHECK(cudaMemGetInfo(&device.free_bytes, &device.total_bytes));
    CUDA_CHECK(cudaStreamCreate(&stream));
    open_cublas(tf32);
  }

  // With a workspace of its own nothing is allocated later, and the same products give the same bits in every run.
  void open_cublas(bool tf32) {
    const size_t workspace_bytes = size_t(device.major >= 9 ? 32 : 4) << 20;  // what NVIDIA recommends
    CUDA_CHECK(cublasCreate(&cublas));
    CUDA_CHECK(cublasSetStream(cublas, stream));  // would reset the workspace, so comes before it
    CUDA_CHECK(cublasSetWorkspace(cublas, allocate(workspace_bytes), workspace_bytes));
    // Partial sums of a product stay fp32 where its result is bf16.
    const int mode = tf32 ? CUBLAS_TF32_TENSOR_OP_MATH : CUBLAS_DEFAULT_MATH;
    CUDA_CHECK(cublasSetMathMode(cublas, cublasMath_t(mode | CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION)));
  }
};

Context& context(bool tf32 = false) {
  static Context opened(tf32);
  return opened;
}

[[noreturn]] void fail(const std::string& call, const char* file, int line, const std::string& reason) {
  throw Failure(std::string(file) + ":" + std::to_string(line) + ": " + call + " failed: " + reason);
}

}  // namespace

void check(cudaError_t result, const char* call, const char* file, int line) {
  if (result == cudaSuccess) return;
  cudaGetLastError();  // where CUDA can go on, the next call does not report this again
  fail(call, file, line, std::string(cudaGetErrorString(result)) + " (" + cudaGetErrorName(result) + ")");
}

void check(cublasStatus_t result, const char* call, const char* file, int line) {
  if (result != CUBLAS_STATUS_SUCCESS) fail(call, file, line, cublasGetStatusString(result));
}

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

cudaStream_t stream() { return context().stream; }
cublasHandle_t cublas() { return context().cublas; }
const Device& open_device(bool tf32) { return context(tf32).device; }

size_t free_bytes() {
  size_t free = 0, total = 0;
  CUDA_CHECK(cudaMemGetInfo(&free, &total));
  return free;
}

void* allocate(size_t bytes) {
  if (bytes == 0) return nullptr;
  void* memory = nullptr;
  const cudaError_t result = cudaMalloc(&memory, bytes);
  if (result == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw Error("the GPU has no " + mebibytes(bytes) + " of memory left, only " + mebibytes(free_bytes()) +
                ": a smaller --batch-size, or another program that leaves it, makes room");
  }
  check(result, "cudaMalloc(&memory, bytes)", __FILE__, __LINE__);
  return memory;
}

// Called by destructors, so it does not throw: what could be wrong was wrong before, and is reported by whoever waits.
void release(void* memory) { (void)cudaFree(memory); }

// CUDA copies ordinary host memory to a buffer of its own before cudaMemcpyAsync returns.
void copy_to_device(void* to, const void* from, size_t bytes) {
  CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream()));
}

void copy_to_host(void* to, const void* from, size_t bytes) {
  CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream()));
  synchronize();
}

void fill_zero(void* memory, size_t bytes) { CUDA_CHECK(cudaMemsetAsync(memory, 0, bytes, stream())); }

void synchronize() { CUDA_CHECK(cudaStreamSynchronize(stream())); }

void* allocate_managed(size_t bytes) {
  if (bytes == 0) return nullptr;
  open_device();
  void* memory = nullptr;
  CUDA_CHECK(cudaMallocManaged(&memory, bytes));
  return memory;
}

void release_managed(void* memory) {
  synchronize();
  release(memory);
}

void reserve_scratch(size_t, size_t shared) { shared_scratch(shared); }

float* shared_scratch(size_t floats) {
  Context& here = context();
  if (here.scratch_floats < floats) {
    synchronize();
    release(here.scratch);
    here.scratch = nullptr;
    here.scratch_floats = 0;
    here.scratch = static_cast<float*>(allocate(floats * sizeof(float)));
    here.scratch_floats = floats;
  }
  return here.scratch;
}

}  // namespace cuda
