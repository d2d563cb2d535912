// Compiles only where the stand-ins have the types and values of the real headers. It is compiled twice:
//   g++ -std=c++20 -fsyntax-only -I/usr/local/cuda/include      tests/cuda_emulator/api_check.cpp
//   g++ -std=c++20 -fsyntax-only -Itests/cuda_emulator/include  tests/cuda_emulator/api_check.cpp
// What is written here is what CUDA 13 has; the functions and constants are those the emulator offers.
#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <concepts>
#include <cstddef>
#include <type_traits>

namespace {

// --- functions -------------------------------------------------------------------------------------------------------

#define CHECK_FUNCTION(result, name, ...) \
  static_assert(std::is_same_v<decltype(static_cast<result (*)(__VA_ARGS__)>(&name)), result (*)(__VA_ARGS__)>)

CHECK_FUNCTION(cudaError_t, cudaGetDeviceCount, int*);
CHECK_FUNCTION(cudaError_t, cudaSetDevice, int);
CHECK_FUNCTION(cudaError_t, cudaGetDevice, int*);
CHECK_FUNCTION(cudaError_t, cudaGetDeviceProperties, cudaDeviceProp*, int);
CHECK_FUNCTION(cudaError_t, cudaDeviceGetAttribute, int*, cudaDeviceAttr, int);
CHECK_FUNCTION(cudaError_t, cudaDriverGetVersion, int*);
CHECK_FUNCTION(cudaError_t, cudaRuntimeGetVersion, int*);
CHECK_FUNCTION(cudaError_t, cudaMemGetInfo, size_t*, size_t*);
CHECK_FUNCTION(cudaError_t, cudaMalloc, void**, size_t);
CHECK_FUNCTION(cudaError_t, cudaFree, void*);
CHECK_FUNCTION(cudaError_t, cudaMallocManaged, void**, size_t, unsigned int);
CHECK_FUNCTION(cudaError_t, cudaMallocHost, void**, size_t);
CHECK_FUNCTION(cudaError_t, cudaFreeHost, void*);
CHECK_FUNCTION(cudaError_t, cudaMemcpy, void*, const void*, size_t, cudaMemcpyKind);
CHECK_FUNCTION(cudaError_t, cudaMemcpyAsync, void*, const void*, size_t, cudaMemcpyKind, cudaStream_t);
CHECK_FUNCTION(cudaError_t, cudaMemset, void*, int, size_t);
CHECK_FUNCTION(cudaError_t, cudaMemsetAsync, void*, int, size_t, cudaStream_t);
CHECK_FUNCTION(cudaError_t, cudaStreamCreate, cudaStream_t*);
CHECK_FUNCTION(cudaError_t, cudaStreamDestroy, cudaStream_t);
CHECK_FUNCTION(cudaError_t, cudaStreamSynchronize, cudaStream_t);
CHECK_FUNCTION(cudaError_t, cudaDeviceSynchronize);
CHECK_FUNCTION(cudaError_t, cudaEventCreate, cudaEvent_t*);
CHECK_FUNCTION(cudaError_t, cudaEventDestroy, cudaEvent_t);
CHECK_FUNCTION(cudaError_t, cudaEventRecord, cudaEvent_t, cudaStream_t);
CHECK_FUNCTION(cudaError_t, cudaEventSynchronize, cudaEvent_t);
CHECK_FUNCTION(cudaError_t, cudaEventElapsedTime, float*, cudaEvent_t, cudaEvent_t);
CHECK_FUNCTION(cudaError_t, cudaGetLastError);
CHECK_FUNCTION(cudaError_t, cudaPeekAtLastError);
CHECK_FUNCTION(const char*, cudaGetErrorString, cudaError_t);
CHECK_FUNCTION(const char*, cudaGetErrorName, cudaError_t);
CHECK_FUNCTION(cudaError_t, cudaFuncSetAttribute, const void*, cudaFuncAttribute, int);
CHECK_FUNCTION(cudaError_t, cudaFuncGetAttributes, cudaFuncAttributes*, const void*);

CHECK_FUNCTION(cublasStatus_t, cublasCreate, cublasHandle_t*);
CHECK_FUNCTION(cublasStatus_t, cublasDestroy, cublasHandle_t);
CHECK_FUNCTION(cublasStatus_t, cublasGetVersion, cublasHandle_t, int*);
CHECK_FUNCTION(cublasStatus_t, cublasSetStream, cublasHandle_t, cudaStream_t);
CHECK_FUNCTION(cublasStatus_t, cublasSetWorkspace, cublasHandle_t, void*, size_t);
CHECK_FUNCTION(cublasStatus_t, cublasSetMathMode, cublasHandle_t, cublasMath_t);
CHECK_FUNCTION(const char*, cublasGetStatusString, cublasStatus_t);
CHECK_FUNCTION(cublasStatus_t, cublasGemmEx, cublasHandle_t, cublasOperation_t, cublasOperation_t, int, int, int,
               const void*, const void*, cudaDataType, int, const void*, cudaDataType, int, const void*, void*,
               cudaDataType, int, cublasComputeType_t, cublasGemmAlgo_t);
CHECK_FUNCTION(cublasStatus_t, cublasGemmStridedBatchedEx, cublasHandle_t, cublasOperation_t, cublasOperation_t, int,
               int, int, const void*, const void*, cudaDataType, int, long long, const void*, cudaDataType, int,
               long long, const void*, void*, cudaDataType, int, long long, int, cublasComputeType_t, cublasGemmAlgo_t);

// The forms that C++ adds, as a program calls them; those for kernels only nvcc sees in the real headers.
template <class T>
concept Calls = requires(T* pointer, T** address, void (*kernel)(T*, int), cudaLaunchConfig_t* config) {
  { cudaMalloc(address, size_t{1}) } -> std::same_as<cudaError_t>;
  { cudaMallocManaged(address, size_t{1}) } -> std::same_as<cudaError_t>;
  { cudaMallocHost(address, size_t{1}) } -> std::same_as<cudaError_t>;
  { cudaMemcpyAsync(pointer, pointer, size_t{1}, cudaMemcpyDefault) } -> std::same_as<cudaError_t>;
  { cudaMemsetAsync(pointer, 0, size_t{1}) } -> std::same_as<cudaError_t>;
  { cudaEventRecord(cudaEvent_t{}) } -> std::same_as<cudaError_t>;
  { cudaLaunchKernelEx(config, kernel, pointer, 1) } -> std::same_as<cudaError_t>;
};
static_assert(Calls<float>);

// --- constants -------------------------------------------------------------------------------------------------------

static_assert(cudaSuccess == 0 && cudaErrorInvalidValue == 1 && cudaErrorMemoryAllocation == 2);
static_assert(cudaErrorInvalidConfiguration == 9 && cudaErrorInsufficientDriver == 35);
static_assert(cudaErrorInvalidDeviceFunction == 98 && cudaErrorNoDevice == 100 && cudaErrorInvalidDevice == 101);
static_assert(cudaErrorNoKernelImageForDevice == 209 && cudaErrorInvalidResourceHandle == 400);
static_assert(cudaErrorNotReady == 600 && cudaErrorIllegalAddress == 700 && cudaErrorLaunchOutOfResources == 701);
static_assert(cudaErrorLaunchFailure == 719 && cudaErrorNotSupported == 801 && cudaErrorUnknown == 999);
static_assert(cudaMemcpyHostToHost == 0 && cudaMemcpyHostToDevice == 1 && cudaMemcpyDeviceToHost == 2);
static_assert(cudaMemcpyDeviceToDevice == 3 && cudaMemcpyDefault == 4 && cudaMemAttachGlobal == 1);
static_assert(cudaFuncAttributeMaxDynamicSharedMemorySize == 8 && cudaFuncAttributePreferredSharedMemoryCarveout == 9);
static_assert(cudaDevAttrMaxThreadsPerBlock == 1 && cudaDevAttrMaxSharedMemoryPerBlock == 8);
static_assert(cudaDevAttrWarpSize == 10 && cudaDevAttrMaxRegistersPerBlock == 12 && cudaDevAttrClockRate == 13);
static_assert(cudaDevAttrMultiProcessorCount == 16 && cudaDevAttrMemoryClockRate == 36);
static_assert(cudaDevAttrGlobalMemoryBusWidth == 37 && cudaDevAttrL2CacheSize == 38);
static_assert(cudaDevAttrMaxThreadsPerMultiProcessor == 39 && cudaDevAttrComputeCapabilityMajor == 75);
static_assert(cudaDevAttrComputeCapabilityMinor == 76 && cudaDevAttrMaxSharedMemoryPerMultiprocessor == 81);
static_assert(cudaDevAttrMaxRegistersPerMultiprocessor == 82 && cudaDevAttrManagedMemory == 83);
static_assert(cudaDevAttrConcurrentManagedAccess == 89 && cudaDevAttrMaxSharedMemoryPerBlockOptin == 97);
static_assert(cudaDevAttrMaxBlocksPerMultiprocessor == 106 && cudaDevAttrReservedSharedMemoryPerBlock == 111);

static_assert(CUBLAS_STATUS_SUCCESS == 0 && CUBLAS_STATUS_NOT_INITIALIZED == 1 && CUBLAS_STATUS_ALLOC_FAILED == 3);
static_assert(CUBLAS_STATUS_INVALID_VALUE == 7 && CUBLAS_STATUS_ARCH_MISMATCH == 8);
static_assert(CUBLAS_STATUS_MAPPING_ERROR == 11 && CUBLAS_STATUS_EXECUTION_FAILED == 13);
static_assert(CUBLAS_STATUS_INTERNAL_ERROR == 14 && CUBLAS_STATUS_NOT_SUPPORTED == 15);
static_assert(CUBLAS_STATUS_LICENSE_ERROR == 16);
static_assert(CUBLAS_OP_N == 0 && CUBLAS_OP_T == 1 && CUBLAS_OP_C == 2);
static_assert(CUBLAS_GEMM_DEFAULT == -1 && CUBLAS_GEMM_DEFAULT_TENSOR_OP == 99);
static_assert(CUBLAS_DEFAULT_MATH == 0 && CUBLAS_PEDANTIC_MATH == 2 && CUBLAS_TF32_TENSOR_OP_MATH == 3);
static_assert(CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION == 16);
static_assert(CUBLAS_COMPUTE_32F == 68 && CUBLAS_COMPUTE_32F_PEDANTIC == 69 && CUBLAS_COMPUTE_32F_FAST_TF32 == 77);
static_assert(CUDA_R_32F == 0 && CUDA_R_16F == 2 && CUDA_R_16BF == 14);

// --- structures ------------------------------------------------------------------------------------------------------

#define CHECK_MEMBER(structure, member, ...) static_assert(std::is_same_v<decltype(structure::member), __VA_ARGS__>)

CHECK_MEMBER(cudaLaunchConfig_t, gridDim, dim3);
CHECK_MEMBER(cudaLaunchConfig_t, blockDim, dim3);
CHECK_MEMBER(cudaLaunchConfig_t, dynamicSmemBytes, size_t);
CHECK_MEMBER(cudaLaunchConfig_t, stream, cudaStream_t);
CHECK_MEMBER(cudaLaunchConfig_t, numAttrs, unsigned int);
CHECK_MEMBER(cudaDeviceProp, name, char[256]);
CHECK_MEMBER(cudaDeviceProp, totalGlobalMem, size_t);
CHECK_MEMBER(cudaDeviceProp, sharedMemPerBlock, size_t);
CHECK_MEMBER(cudaDeviceProp, regsPerBlock, int);
CHECK_MEMBER(cudaDeviceProp, warpSize, int);
CHECK_MEMBER(cudaDeviceProp, maxThreadsPerBlock, int);
CHECK_MEMBER(cudaDeviceProp, maxThreadsDim, int[3]);
CHECK_MEMBER(cudaDeviceProp, maxGridSize, int[3]);
CHECK_MEMBER(cudaDeviceProp, major, int);
CHECK_MEMBER(cudaDeviceProp, minor, int);
CHECK_MEMBER(cudaDeviceProp, multiProcessorCount, int);
CHECK_MEMBER(cudaDeviceProp, integrated, int);
CHECK_MEMBER(cudaDeviceProp, ECCEnabled, int);
CHECK_MEMBER(cudaDeviceProp, pciBusID, int);
CHECK_MEMBER(cudaDeviceProp, pciDeviceID, int);
CHECK_MEMBER(cudaDeviceProp, pciDomainID, int);
CHECK_MEMBER(cudaDeviceProp, memoryBusWidth, int);
CHECK_MEMBER(cudaDeviceProp, l2CacheSize, int);
CHECK_MEMBER(cudaDeviceProp, maxThreadsPerMultiProcessor, int);
CHECK_MEMBER(cudaDeviceProp, sharedMemPerMultiprocessor, size_t);
CHECK_MEMBER(cudaDeviceProp, regsPerMultiprocessor, int);
CHECK_MEMBER(cudaDeviceProp, managedMemory, int);
CHECK_MEMBER(cudaDeviceProp, concurrentManagedAccess, int);
CHECK_MEMBER(cudaDeviceProp, sharedMemPerBlockOptin, size_t);
CHECK_MEMBER(cudaDeviceProp, maxBlocksPerMultiProcessor, int);
CHECK_MEMBER(cudaDeviceProp, reservedSharedMemPerBlock, size_t);
CHECK_MEMBER(cudaFuncAttributes, sharedSizeBytes, size_t);
CHECK_MEMBER(cudaFuncAttributes, constSizeBytes, size_t);
CHECK_MEMBER(cudaFuncAttributes, localSizeBytes, size_t);
CHECK_MEMBER(cudaFuncAttributes, maxThreadsPerBlock, int);
CHECK_MEMBER(cudaFuncAttributes, numRegs, int);
CHECK_MEMBER(cudaFuncAttributes, ptxVersion, int);
CHECK_MEMBER(cudaFuncAttributes, binaryVersion, int);
CHECK_MEMBER(cudaFuncAttributes, cacheModeCA, int);
CHECK_MEMBER(cudaFuncAttributes, maxDynamicSharedSizeBytes, int);
CHECK_MEMBER(cudaFuncAttributes, preferredShmemCarveout, int);

template <class Vector, class Element, size_t count, size_t alignment>
constexpr bool is_vector = sizeof(Vector) == count * sizeof(Element) &&
                           alignof(Vector) == alignment&& std::is_same_v<decltype(Vector::x), Element>;
static_assert(is_vector<float2, float, 2, 8> && is_vector<float3, float, 3, 4> && is_vector<float4, float, 4, 16>);
static_assert(is_vector<int2, int, 2, 8> && is_vector<int4, int, 4, 16>);
static_assert(is_vector<uint2, unsigned, 2, 8> && is_vector<uint3, unsigned, 3, 4> &&
              is_vector<uint4, unsigned, 4, 16>);
static_assert(is_vector<dim3, unsigned, 3, 4> && dim3(2).x == 2 && dim3(2).y == 1 && dim3(2).z == 1);

}  // namespace
