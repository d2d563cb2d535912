// The emulator finds planted bugs, finds nothing in correct kernels, and gives the same bits in every schedule; the
// host side refuses what CUDA would not do.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <thread>

#include <cublas_v2.h>

#include "test_kernels.h"
#include "tests/catch.h"

namespace {

// Sets options for one scope.
struct WithOptions {
  emu::Options before = emu::options();
  explicit WithOptions(const std::string& text) { emu::options() = emu::parse_options(text); }
  ~WithOptions() { emu::options() = before; }
};

const std::vector<std::string> kSchedules = {
    "schedule=forward",
    "schedule=reverse",
    "schedule=random seed=1",
    "schedule=random seed=2",
    "schedule=random seed=3",
    "schedule=forward preempt=8",
    "schedule=reverse preempt=3 seed=4",
    "schedule=random preempt=2 seed=5",
    "schedule=random preempt=64 seed=6",
};

// The text of the emu::Error that `body` throws, "" if it throws none.
template <class Body>
std::string error_of(Body&& body) {
  try {
    body();
  } catch (const emu::Error& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

bool contains_one_of(const std::string& text, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) {
    if (contains(text, part)) return true;
  }
  return false;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

TEST_CASE("every planted bug is reported in every schedule", "[core][emulator]") {
  for (const PlantedBug& bug : planted_bugs()) {
    for (const std::string& schedule : kSchedules) {
      const WithOptions options(schedule);
      const std::string error = error_of(bug.run);
      INFO(bug.name << ", " << schedule << ": " << error);
      CHECK(contains_one_of(error, bug.texts));
    }
  }
}

TEST_CASE("an error names kernel, block, thread, source line, schedule and seed", "[core][emulator]") {
  const WithOptions options("schedule=random seed=7 preempt=5");
  for (const PlantedBug& bug : planted_bugs()) {
    if (std::string(bug.name) != "write behind a shared array") continue;
    const std::string error = error_of(bug.run);
    INFO(error);
    CHECK(contains(error,
                   "in kernel (anonymous namespace)::write_behind_shared(float*), block (0,0,0), thread (63,0,0)"));
    CHECK(contains(error, "planted_bugs.cu:"));
    CHECK(contains(error, "(schedule=random seed=7 preempt=5)"));
  }
}

TEST_CASE("a kernel that waits for another block is stopped", "[core][emulator]") {
  CHECK(contains(error_of(wait_for_another_block), "it seems to wait for another thread or block"));
}

TEST_CASE("correct kernels run without an error and give the same bits in every schedule", "[core][emulator]") {
  for (const KnownGood& kernel : known_good()) {
    const std::vector<float> expected = kernel.expected();
    std::vector<float> first;
    for (const std::string& schedule : kSchedules) {
      const WithOptions options(schedule);
      INFO(kernel.name << ", " << schedule);
      std::vector<float> result;
      REQUIRE(error_of([&] { result = kernel.run(); }) == "");
      if (first.empty()) first = result;
      CHECK(same_bits(result, first));
      REQUIRE(result.size() == expected.size());
      for (size_t i = 0; i < result.size(); ++i) {
        INFO("element " << i);
        REQUIRE(std::abs(result[i] - expected[i]) <= kernel.tolerance);
      }
    }
  }
}

extern "C" void __tsan_write8(
    void*);  // what the compiler calls in kernels, and in functions that they share with the host

TEST_CASE("other threads of the host are left alone while a kernel runs", "[core][emulator]") {
  std::atomic<bool> done = false;
  std::atomic<uint64_t> written = 0;
  std::thread other([&] {
    for (uint64_t own = 0; !done; own++) {
      __tsan_write8(&own);
      written = own;
    }
  });
  while (written == 0) std::this_thread::yield();
  for (const KnownGood& kernel : known_good()) CHECK(error_of([&] { kernel.run(); }) == "");
  done = true;
  other.join();
}

TEST_CASE("without checks kernels give the same bits", "[core][emulator]") {
  for (const KnownGood& kernel : known_good()) {
    const std::vector<float> checked = kernel.run();
    const WithOptions options("check=off schedule=random preempt=4");
    INFO(kernel.name);
    CHECK(same_bits(kernel.run(), checked));
  }
}

TEST_CASE("sums by atomicAdd of floats differ between schedules", "[core][emulator]") {
  const WithOptions options("float-atomics=on");
  const float forward = sum_with_float_atomics();
  emu::options().schedule = emu::Schedule::reverse;
  const float reverse = sum_with_float_atomics();
  CHECK(forward != reverse);
  CHECK(forward == Approx(reverse));
}

TEST_CASE("the random order is another one for each seed, and always the same for one", "[core][emulator]") {
  const WithOptions options("schedule=random float-atomics=on");
  std::set<float> sums;
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    emu::options().seed = seed;
    const float sum = sum_with_float_atomics();
    CHECK(sum_with_float_atomics() == sum);
    sums.insert(sum);
  }
  CHECK(sums.size() > 2);
}

TEST_CASE("launches wait in the queue for the host to synchronise", "[core][emulator]") {
  float* values;
  require_success(cudaMallocManaged(&values, 100 * sizeof(float)));
  launch_increment(values, 100);
  CHECK(values[99] == 0);
  require_success(cudaDeviceSynchronize());
  CHECK(values[99] == 1);
  require_success(cudaFree(values));
}

TEST_CASE("an error leaves a device that works", "[core][emulator]") {
  DeviceArray<float> values(std::vector<float>(10, 1.0f));
  launch_increment(values.data, 11);
  launch_increment(values.data, 10);
  CHECK(contains(error_of([] { cudaDeviceSynchronize(); }), "out of bounds"));
  const float before = values.values()[9];
  launch_increment(values.data, 10);
  CHECK(values.values()[9] == before + 1);
}

TEST_CASE("managed memory counts as initialised and has bounds", "[core][emulator]") {
  float* values;
  require_success(cudaMallocManaged(&values, 100 * sizeof(float)));
  launch_increment(values, 101);
  CHECK(contains(error_of([] { cudaDeviceSynchronize(); }), "cudaMallocManaged #"));
  require_success(cudaFree(values));
}

TEST_CASE("a copy must fit its kind and both of its ends", "[core][emulator]") {
  DeviceArray<float> device(std::vector<float>(8, 1.0f)), fresh(8);
  std::vector<float> host(16);
  const auto copy = [&](void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
    return error_of([&] { cudaMemcpy(to, from, bytes, kind); });
  };
  CHECK(contains(copy(host.data(), device.data, 32, cudaMemcpyHostToDevice), "the destination is a host pointer"));
  CHECK(contains(copy(device.data, host.data(), 32, cudaMemcpyDeviceToHost), "the destination is a device pointer"));
  CHECK(contains(copy(device.data, host.data(), 32, cudaMemcpyDeviceToDevice), "the source is a host pointer"));
  CHECK(contains(copy(device.data, host.data(), 36, cudaMemcpyHostToDevice),
                 "the destination is too short for 36 bytes"));
  CHECK(
      contains(copy(host.data(), device.data + 1, 32, cudaMemcpyDeviceToHost), "the source is too short for 32 bytes"));
  CHECK(contains(copy(host.data(), fresh.data, 32, cudaMemcpyDeviceToHost), "the source is not initialised"));
  CHECK(copy(fresh.data, device.data, 16, cudaMemcpyDeviceToDevice) == "");
  CHECK(copy(host.data(), fresh.data, 16, cudaMemcpyDefault) == "");
  CHECK(contains(copy(host.data(), fresh.data, 20, cudaMemcpyDeviceToHost), "at byte 16"));
  CHECK(contains(error_of([&] { cudaMemset(device.data, 0, 33); }), "cudaMemset: the destination is too short"));
}

TEST_CASE("freed memory is not to be used", "[core][emulator]") {
  float* freed;
  {
    DeviceArray<float> device(std::vector<float>(8, 1.0f));
    freed = device.data;
  }
  std::vector<float> host(8);
  CHECK(contains(error_of([&] { cudaMemcpy(host.data(), freed, 32, cudaMemcpyDeviceToHost); }), "freed cudaMalloc #"));
  CHECK(cudaFree(freed) == cudaErrorInvalidValue);
  CHECK(cudaGetLastError() == cudaErrorInvalidValue);
  CHECK(cudaGetLastError() == cudaSuccess);
  CHECK(cudaFree(nullptr) == cudaSuccess);
}

TEST_CASE("pinned memory is copied behind the host's back, other memory is not", "[core][emulator]") {
  DeviceArray<float> device(std::vector<float>(4, 1.0f));
  float* pinned;
  require_success(cudaMallocHost(&pinned, 16));
  std::memset(pinned, 0, 16);
  std::vector<float> host(4, 0.0f);
  require_success(cudaMemcpyAsync(pinned, device.data, 16, cudaMemcpyDeviceToHost));
  CHECK(pinned[3] == 0);
  require_success(cudaMemcpyAsync(host.data(), device.data, 16, cudaMemcpyDeviceToHost));
  CHECK(host[3] == 1);
  CHECK(pinned[3] == 1);
  CHECK(contains(error_of([&] { cudaMemcpyAsync(pinned, device.data, 20, cudaMemcpyDeviceToHost); }), "too short"));
  require_success(cudaFreeHost(pinned));
}

namespace {

struct ChildResult {
  int status;  // of waitpid
  std::string errors;
};

// Runs `body` in another process, with the default handler for SIGSEGV.
template <class Body>
ChildResult run_in_child(Body&& body) {
  int messages[2];
  REQUIRE(pipe(messages) == 0);
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    dup2(messages[1], STDERR_FILENO);
    signal(SIGSEGV, SIG_DFL);
    body();
    _exit(0);
  }
  close(messages[1]);
  ChildResult result;
  char buffer[256];
  for (ssize_t n; (n = read(messages[0], buffer, sizeof buffer)) > 0;) {
    result.errors.append(buffer, static_cast<size_t>(n));
  }
  close(messages[0]);
  waitpid(child, &result.status, 0);
  return result;
}

}  // namespace

TEST_CASE("the host that reads device memory is stopped with a sentence", "[core][emulator]") {
  DeviceArray<float> device(std::vector<float>(4, 1.0f));
  const ChildResult result = run_in_child([&] {
    DeviceArray<float> another(1);  // watches for faults again
    volatile float value = device.data[2];
    static_cast<void>(value);
  });
  CHECK(WIFSIGNALED(result.status));
  CHECK(contains(result.errors, "emulator: host code touches device memory: cudaMalloc #"));
  CHECK(contains(result.errors, "of 16 bytes, at byte 8"));
}

TEST_CASE("a program that ends without synchronising ends with the errors of its kernels", "[core][emulator]") {
  DeviceArray<float> device(std::vector<float>(4, 1.0f));
  const ChildResult result = run_in_child([&] {
    launch_increment(device.data, 5);
    std::exit(0);
  });
  CHECK(WIFEXITED(result.status));
  CHECK(WEXITSTATUS(result.status) == 1);
  CHECK(contains(result.errors, "emulator: read of 4 bytes out of bounds"));
}

TEST_CASE("an error where nothing can be thrown waits for the next call that can", "[core][emulator]") {
  {
    DeviceArray<float> device(std::vector<float>(4, 1.0f));
    launch_increment(device.data, 5);
  }
  CHECK(contains(error_of([] { cudaDeviceSynchronize(); }), "out of bounds"));
  CHECK(error_of([] { cudaDeviceSynchronize(); }) == "");
}

TEST_CASE("a launch keeps the limits of a device", "[core][emulator]") {
  CHECK_NOTHROW(launch_with_block(dim3(3, 2, 2), dim3(16, 8, 8)));
  CHECK_THROWS_WITH(launch_with_block(1, dim3(1025)), "invalid configuration argument");
  CHECK_THROWS_WITH(launch_with_block(1, dim3(32, 33)), "invalid configuration argument");
  CHECK_THROWS_WITH(launch_with_block(1, dim3(1, 1, 65)), "invalid configuration argument");
  CHECK_THROWS_WITH(launch_with_block(dim3(1, 65536), 1), "invalid configuration argument");
  CHECK_THROWS_WITH(launch_with_block(dim3(0), 1), "invalid configuration argument");
  CHECK_NOTHROW(launch_with_shared(48 * 1024, 0));
  CHECK_THROWS_WITH(launch_with_shared(48 * 1024 + 4, 0), "invalid argument");
  CHECK_NOTHROW(launch_with_shared(99 * 1024, 99 * 1024));
  CHECK_THROWS_WITH(launch_with_shared(99 * 1024, 99 * 1024 + 4), "invalid argument");
  require_success(cudaDeviceSynchronize());
  cudaGetLastError();
}

TEST_CASE("events measure time and know when there is none", "[core][emulator]") {
  cudaEvent_t start, end;
  require_success(cudaEventCreate(&start));
  require_success(cudaEventCreate(&end));
  float milliseconds = -1;
  CHECK(cudaEventElapsedTime(&milliseconds, start, end) == cudaErrorNotReady);
  require_success(cudaEventRecord(start));
  require_success(cudaEventRecord(end));
  require_success(cudaEventSynchronize(end));
  require_success(cudaEventElapsedTime(&milliseconds, start, end));
  CHECK(milliseconds >= 0);
  require_success(cudaEventDestroy(start));
  require_success(cudaEventDestroy(end));
  CHECK(cudaStreamSynchronize(reinterpret_cast<cudaStream_t>(1)) == cudaErrorInvalidResourceHandle);
  cudaGetLastError();
}

// --- machines that are not fit for CUDA ------------------------------------------------------------------------------

TEST_CASE("faults of the machine come from the options", "[core][emulator]") {
  int count = -1, version = -1;
  void* memory = nullptr;
  {
    const WithOptions options("fault=no-driver");
    CHECK(cudaGetDeviceCount(&count) == cudaErrorInsufficientDriver);
    CHECK(count == 0);
    CHECK(cudaDriverGetVersion(&version) == cudaSuccess);
    CHECK(version == 0);
    cublasHandle_t handle;
    CHECK(cublasCreate(&handle) == CUBLAS_STATUS_NOT_INITIALIZED);
  }
  {
    const WithOptions options("fault=old-driver");
    CHECK(cudaMalloc(&memory, 4) == cudaErrorInsufficientDriver);
    CHECK(cudaDriverGetVersion(&version) == cudaSuccess);
    CHECK((version > 0 && version < CUDART_VERSION));
  }
  {
    const WithOptions options("fault=no-device");
    CHECK(cudaGetDeviceCount(&count) == cudaErrorNoDevice);
    CHECK(cudaSetDevice(0) == cudaErrorNoDevice);
  }
  {
    const WithOptions options("fault=no-image");
    CHECK(cudaGetDeviceCount(&count) == cudaSuccess);
    CHECK_THROWS_WITH(launch_with_block(1, 1), "no kernel image is available for execution on the device");
  }
  CHECK(std::string(cudaGetErrorName(cudaGetLastError())) == "cudaErrorNoKernelImageForDevice");
}

TEST_CASE("device memory has the size of the option", "[core][emulator]") {
  const WithOptions options("memory=2MiB");
  size_t free_before, free_after, total;
  require_success(cudaMemGetInfo(&free_before, &total));
  CHECK(total == 2 << 20);
  void *first, *second;
  CHECK(cudaMalloc(&first, 1 << 20) == cudaSuccess);
  CHECK(cudaMalloc(&second, (1 << 20) + 1) == cudaErrorMemoryAllocation);
  require_success(cudaMemGetInfo(&free_after, &total));
  CHECK(free_before - free_after == 1 << 20);
  require_success(cudaFree(first));
  CHECK(cudaSetDevice(1) == cudaErrorInvalidDevice);
  cudaGetLastError();
}

TEST_CASE("options that make no sense are refused by name", "[core][emulator]") {
  CHECK(contains(error_of([] { emu::parse_options("schedule=backward"); }),
                 "schedule=backward is unknown: allowed is forward"));
  CHECK(contains(error_of([] { emu::parse_options("sched=forward"); }), "allowed is schedule="));
  CHECK(contains(error_of([] { emu::parse_options("seed=-1"); }), "seed=-1 is unknown: allowed is a whole number"));
  CHECK(contains(error_of([] { emu::parse_options("memory=64MB"); }), "memory=64MB is unknown: allowed is KiB, MiB"));
  const emu::Options options = emu::parse_options("memory=3MiB check=off  seed=9 preempt=2 fault=no-image");
  CHECK(options.memory == 3 << 20);
  CHECK(!options.check);
  CHECK(emu::describe(options) == "schedule=forward seed=9 preempt=2");
}

// --- cuBLAS ----------------------------------------------------------------------------------------------------------

namespace {

struct Handle {
  cublasHandle_t handle;
  Handle() { REQUIRE(cublasCreate(&handle) == CUBLAS_STATUS_SUCCESS); }
  ~Handle() { cublasDestroy(handle); }
};

// op(A) (2,3), op(B) (3,2), column-major; the product is {{1,2,3},{4,5,6}} {{1,0},{2,1},{0,3}} = {{5,11},{14,23}}.
std::vector<float> product(cublasOperation_t op_a, cublasOperation_t op_b, float alpha, float beta, float c_before) {
  const std::vector<float> a =
      op_a == CUBLAS_OP_N ? std::vector<float>{1, 4, 2, 5, 3, 6} : std::vector<float>{1, 2, 3, 4, 5, 6};
  const std::vector<float> b =
      op_b == CUBLAS_OP_N ? std::vector<float>{1, 2, 0, 0, 1, 3} : std::vector<float>{1, 0, 2, 1, 0, 3};
  const DeviceArray<float> device_a(a), device_b(b), c(std::vector<float>(4, c_before));
  const Handle cublas;
  REQUIRE(cublasGemmEx(cublas.handle, op_a, op_b, 2, 2, 3, &alpha, device_a.data, CUDA_R_32F,
                       op_a == CUBLAS_OP_N ? 2 : 3, device_b.data, CUDA_R_32F, op_b == CUBLAS_OP_N ? 3 : 2, &beta,
                       c.data, CUDA_R_32F, 2, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS);
  return c.values();
}

cublasStatus_t square(cublasHandle_t handle, int n, const float* a, int lda, const float* b, float* c, float beta) {
  const float alpha = 1;
  return cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, n, n, n, &alpha, a, CUDA_R_32F, lda, b, CUDA_R_32F, n, &beta, c,
                      CUDA_R_32F, n, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
}

}  // namespace

TEST_CASE("cuBLAS multiplies in all four transpositions", "[core][emulator]") {
  const std::vector<float> plain{5, 14, 11, 23}, scaled{13, 31, 25, 49};
  for (cublasOperation_t op_a : {CUBLAS_OP_N, CUBLAS_OP_T}) {
    for (cublasOperation_t op_b : {CUBLAS_OP_N, CUBLAS_OP_T}) {
      CHECK(product(op_a, op_b, 1, 0, std::nanf("")) == plain);
      CHECK(product(op_a, op_b, 2, 1, 3) == scaled);
    }
  }
}

TEST_CASE("cuBLAS multiplies batches of bf16, rounds once and reads what lies apart", "[core][emulator]") {
  // Two products of (1,2) and (2,1) with strides of 4 elements; 1 + 2^-8 rounds to the even 1.
  const std::vector<uint16_t> a{0x3f80, 0x3f80, 0, 0, 0x4000, 0x4000, 0, 0};  // 1 1, 2 2
  const std::vector<uint16_t> b{0x3f80, 0x3b80, 0, 0, 0x3f80, 0x3f80, 0, 0};  // 1 2^-8, 1 1
  const DeviceArray<uint16_t> device_a(a), device_b(b), c(8);
  const Handle cublas;
  const float one = 1, zero = 0;
  REQUIRE(cublasGemmStridedBatchedEx(cublas.handle, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 2, &one, device_a.data, CUDA_R_16BF,
                                     1, 4, device_b.data, CUDA_R_16BF, 2, 4, &zero, c.data, CUDA_R_16BF, 1, 4, 2,
                                     CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS);
  uint16_t result[2];
  require_success(cudaMemcpy(&result[0], c.data, 2, cudaMemcpyDeviceToHost));
  require_success(cudaMemcpy(&result[1], c.data + 4, 2, cudaMemcpyDeviceToHost));
  CHECK(result[0] == 0x3f80);
  CHECK(result[1] == 0x4080);
  CHECK(contains(error_of([&] { c.values(); }), "is not initialised"));  // nothing in between was written
}

TEST_CASE("cuBLAS in TF32 keeps ten bits of the operands", "[core][emulator]") {
  const float value = 1 + 0x1p-12f;
  const DeviceArray<float> a(std::vector<float>{value}), one(std::vector<float>{1.0f}), c(1);
  const Handle cublas;
  REQUIRE(square(cublas.handle, 1, a.data, 1, one.data, c.data, 0) == CUBLAS_STATUS_SUCCESS);
  CHECK(c.values()[0] == value);
  REQUIRE(cublasSetMathMode(cublas.handle, CUBLAS_TF32_TENSOR_OP_MATH) == CUBLAS_STATUS_SUCCESS);
  REQUIRE(square(cublas.handle, 1, a.data, 1, one.data, c.data, 0) == CUBLAS_STATUS_SUCCESS);
  CHECK(c.values()[0] == 1);
}

TEST_CASE("cuBLAS refuses wrong arguments and operands that are too short or were never written", "[core][emulator]") {
  const DeviceArray<float> a(std::vector<float>(16, 1.0f)), b(std::vector<float>(16, 1.0f)), c(16), short_b(15),
      fresh(16);
  const Handle cublas;
  const auto error = [&](const float* a, int lda, const float* b, float* c, float beta) {
    REQUIRE(square(cublas.handle, 4, a, lda, b, c, beta) == CUBLAS_STATUS_SUCCESS);
    return error_of([] { cudaDeviceSynchronize(); });
  };
  CHECK(square(cublas.handle, 4, a.data, 3, b.data, c.data, 0) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(square(cublas.handle, -1, a.data, 4, b.data, c.data, 0) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(square(nullptr, 4, a.data, 4, b.data, c.data, 0) == CUBLAS_STATUS_NOT_INITIALIZED);
  CHECK(error(a.data, 4, b.data, c.data, 0) == "");
  CHECK(contains(error(a.data, 5, b.data, c.data, 0), "cuBLAS: matrix A, column 3, is too short for 16 bytes"));
  CHECK(contains(error(a.data, 4, fresh.data, c.data, 0), "cuBLAS: matrix B, column 0, is not initialised"));
  CHECK(contains(error(a.data, 4, b.data, fresh.data, 1), "cuBLAS: matrix C, column 0, is not initialised"));
  const std::vector<float> host(16, 1.0f);
  CHECK(contains(error(host.data(), 4, b.data, c.data, 0), "cuBLAS: matrix A, column 0, is a host pointer"));
  require_success(cudaMemset(short_b.data, 0, 60));
  CHECK(contains(error(a.data, 4, short_b.data, c.data, 0), "cuBLAS: matrix B, column 3, is too short"));
}
