// Kernels with one fault each. The names say what is wrong; the table at the end says what the emulator must say.
#include <atomic>

#include "test_kernels.h"

extern float host_variable;
float host_variable = 0;

namespace {

constexpr unsigned kAll = 0xffffffff;
constexpr int kThreads = 64;

__device__ float sum_in_line(const float* values, int n) {
  float sum = 0;
  for (int i = 0; i < n; ++i) sum += values[i];
  return sum;
}

// --- barriers and races ----------------------------------------------------------------------------------------------

__global__ void missing_barrier(float* out) {
  SHARED_ARRAY(float, tile, [kThreads]);
  tile[threadIdx.x] = static_cast<float>(threadIdx.x);
  out[threadIdx.x] = tile[kThreads - 1 - threadIdx.x];
}

__global__ void missing_second_barrier(float* out) {
  SHARED_ARRAY(float, tile, [kThreads]);
  float sum = 0;
  for (int round = 0; round < 3; ++round) {
    tile[threadIdx.x] = static_cast<float>(round);
    __syncthreads();
    sum += tile[(threadIdx.x + 1) % kThreads];
  }
  out[threadIdx.x] = sum;
}

__global__ void missing_syncwarp(float* out) {
  SHARED_ARRAY(float, tile, [32]);
  tile[threadIdx.x] = 1;
  out[threadIdx.x] = tile[threadIdx.x ^ 1];
}

// A shuffle in between lets every lane wait for the others, but orders no memory.
__global__ void shuffle_for_syncwarp(float* out) {
  SHARED_ARRAY(float, tile, [32]);
  tile[threadIdx.x] = 1;
  const float other = __shfl_xor_sync(kAll, 1.0f, 1);
  out[threadIdx.x] = tile[threadIdx.x ^ 1] + other;
}

__global__ void syncwarp_of_half(float* out) {
  SHARED_ARRAY(float, tile, [32]);
  tile[threadIdx.x] = 1;
  __shfl_xor_sync(kAll, 1, 1);  // all have written before the first half waits
  __syncwarp(threadIdx.x < 16 ? 0x0000ffffu : 0xffff0000u);
  out[threadIdx.x] = tile[threadIdx.x ^ 16];
}

__global__ void two_blocks_write(float* out) { out[threadIdx.x] = static_cast<float>(blockIdx.x); }

__global__ void block_reads_another_s(float* out) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  out[i] += out[(i + blockDim.x) % (gridDim.x * blockDim.x)];
}

// Who writes has read before the other reader did.
__global__ void write_after_two_reads(float* out) {
  float value = 0;
  if (threadIdx.x < 2) value = out[0];
  value += __shfl_xor_sync(kAll, value, 1);
  if (threadIdx.x == 0) out[0] = value + 1;
}

// The odd byte of a pair, and the pair.
__global__ void byte_of_a_pair(float* out) {
  SHARED_ARRAY(uint16_t, pair, [1]);
  if (threadIdx.x == 0) pair[0] = 0;
  __syncthreads();
  if (threadIdx.x == 1) reinterpret_cast<uint8_t*>(pair)[1] = 1;
  if (threadIdx.x == 2) out[0] = pair[0];
}

__global__ void plain_increment(float* counter) { *counter = *counter + 1; }

__global__ void atomic_and_plain(int* counter) {
  atomicAdd(counter, 1);
  if (threadIdx.x == 5) *counter = 0;
}

__global__ void wait_for_block(int* flag) {
  while (atomicAdd(flag, 0) == 0) continue;
}

__global__ void float_atomic(float* sum) { atomicAdd(sum, 1.0f); }

__global__ void cpp_atomic(int* counter) { reinterpret_cast<std::atomic<int>*>(counter)->fetch_add(1); }

// --- bounds, initialisation, alignment, pointers ---------------------------------------------------------------------

__global__ void write_behind_array(float* out, int n) {
  const int i = static_cast<int>(threadIdx.x);
  if (i <= n) out[i] = 0;
}

__global__ void read_behind_array(const float* in, float* out, int n) {
  const int i = static_cast<int>(threadIdx.x);
  if (i < n) out[i] = in[i + 1];
}

__global__ void read_before_array(const float* in, float* out) {
  out[threadIdx.x] = in[static_cast<int>(threadIdx.x) - 1];
}

__global__ void write_behind_shared(float* out) {
  SHARED_ARRAY(float, tile, [kThreads]);
  float* const next = tile + 1;
  next[threadIdx.x] = 0;
  __syncthreads();
  out[threadIdx.x] = tile[threadIdx.x];
}

__global__ void write_behind_dynamic_shared(float* out) {
  DYNAMIC_SHARED(float, tile);
  tile[threadIdx.x] = 0;
  __syncthreads();
  out[threadIdx.x] = tile[threadIdx.x];
}

// Inside the array, outside its row: only -fsanitize=bounds sees it.
__global__ void index_behind_row(float* out, int column) {
  SHARED_ARRAY(float, tile, [4][8]);
  if (threadIdx.x < 32) tile[threadIdx.x / 8][threadIdx.x % 8] = 1;
  __syncthreads();
  out[threadIdx.x] = tile[0][column];
}

__global__ void uninitialised_shared(float* out) {
  SHARED_ARRAY(float, tile, [kThreads]);
  if (threadIdx.x != 7) tile[threadIdx.x] = 1;
  __syncthreads();
  if (threadIdx.x == 0) out[0] = sum_in_line(tile, kThreads);
}

__global__ void copy(const float* in, float* out) { out[threadIdx.x] = in[threadIdx.x]; }

#ifndef __clang__
__global__ void copy4(const float* in, float* out) {
  reinterpret_cast<float4*>(out)[threadIdx.x] = *reinterpret_cast<const float4*>(in + 4 * threadIdx.x + 1);
}
#endif

// An array of floats is aligned as a float is; that float4 fits is luck.
__global__ void float4_in_float_array(float* out) {
  SHARED_ARRAY(float, tile, [4 * kThreads]);
  *reinterpret_cast<float4*>(tile + 4 * threadIdx.x) = make_float4(1, 2, 3, 4);
  out[threadIdx.x] = tile[4 * threadIdx.x];
}

__global__ void write_host_variable() { host_variable = 1; }

__global__ void other_thread_s_local_memory(float* out) {
  SHARED_ARRAY(float*, pointer, [1]);
  volatile float local = 1;
  if (threadIdx.x == 0) pointer[0] = const_cast<float*>(&local);
  __syncthreads();
  out[threadIdx.x] = *pointer[0];
  __syncthreads();
}

__global__ void division_by_zero(int* out, int divisor) { out[threadIdx.x] = 1 / divisor; }

__global__ void trap_in_kernel() { __trap(); }

__device__ float endless(volatile float* values, int depth) {
  volatile float local[64];
  local[depth % 64] = values[0];
  return depth < 0 ? local[0] : endless(local, depth + 1) + local[1];
}

__global__ void endless_recursion(float* out) { out[threadIdx.x] = endless(out, 0); }

// --- warp operations and barriers that not everybody reaches ---------------------------------------------------------

__global__ void shuffle_without_some(float* out) {
  if (threadIdx.x >= 16) return;
  out[threadIdx.x] = __shfl_xor_sync(kAll, 1.0f, 1);
}

__global__ void mask_without_caller(float* out) { out[threadIdx.x] = __shfl_xor_sync(0x0000ffff, 1.0f, 1); }

__global__ void source_outside_mask(float* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0x0000ffff, 1.0f, 16);
}

__global__ void mask_of_missing_lanes(float* out) { out[threadIdx.x] = __shfl_xor_sync(kAll, 1.0f, 1); }

__global__ void shuffle_against_barrier(float* out) {
  if (threadIdx.x == 9) __syncthreads();
  out[threadIdx.x] = __shfl_xor_sync(kAll, 1.0f, 1);
}

__global__ void mixed_warp_operations(float* out) {
  if (threadIdx.x % 2 == 0) {
    out[threadIdx.x] = __shfl_xor_sync(kAll, 1.0f, 1);
  } else {
    out[threadIdx.x] = static_cast<float>(__ballot_sync(kAll, 1));
  }
}

__global__ void shuffles_in_two_branches(float* out) {
  if (threadIdx.x % 2 == 0) {
    out[threadIdx.x] = __shfl_xor_sync(kAll, 1.0f, 1);
  } else {
    out[threadIdx.x] = __shfl_xor_sync(kAll, 2.0f, 1);
  }
}

__global__ void barrier_in_branch(float* out) {
  if (threadIdx.x < 32) __syncthreads();
  out[threadIdx.x] = 1;
}

__global__ void early_return(float* out) {
  if (threadIdx.x == 5) return;
  __syncthreads();
  out[threadIdx.x] = 1;
}

__global__ void two_barriers(float* out) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  out[threadIdx.x] = 1;
}

// --- cp.async and ldmatrix -------------------------------------------------------------------------------------------

__global__ void async_without_wait(const float* in, float* out) {
  DYNAMIC_SHARED(float, tile);
  emu::cp_async_16(tile + 4 * threadIdx.x, in + 4 * threadIdx.x);
  emu::cp_async_commit();
  out[threadIdx.x] = tile[4 * threadIdx.x];
  emu::cp_async_wait(0);
}

__global__ void async_without_barrier(const float* in, float* out) {
  DYNAMIC_SHARED(float, tile);
  emu::cp_async_16(tile + 4 * threadIdx.x, in + 4 * threadIdx.x);
  emu::cp_async_commit();
  emu::cp_async_wait(0);
  out[threadIdx.x] = tile[4 * (threadIdx.x ^ 1)];
}

__global__ void async_never_waited_for(const float* in, float* out) {
  DYNAMIC_SHARED(float, tile);
  emu::cp_async_16(tile + 4 * threadIdx.x, in + 4 * threadIdx.x);
  emu::cp_async_commit();
  out[threadIdx.x] = 1;
}

__global__ void async_waits_for_too_few(const float* in, float* out) {
  DYNAMIC_SHARED(float, tile);
  for (unsigned i = 0; i < 2; ++i) {
    emu::cp_async_16(tile + 4 * (kThreads * i + threadIdx.x), in + 4 * threadIdx.x);
    emu::cp_async_commit();
  }
  emu::cp_async_wait(1);
  out[threadIdx.x] = tile[4 * (kThreads + threadIdx.x)];
  emu::cp_async_wait(0);
}

__global__ void async_source_changes(float* in) {
  DYNAMIC_SHARED(float, tile);
  emu::cp_async_16(tile + 4 * threadIdx.x, in + 4 * threadIdx.x);
  emu::cp_async_commit();
  in[4 * (threadIdx.x ^ 1)] = 0;
  emu::cp_async_wait(0);
}

__global__ void async_misaligned(const float* in) {
  DYNAMIC_SHARED(float, tile);
  emu::cp_async_16(tile + 4 * threadIdx.x, in + 4 * threadIdx.x + 1);
  emu::cp_async_commit();
  emu::cp_async_wait(0);
}

__global__ void ldmatrix_misaligned(float* out) {
  DYNAMIC_SHARED(uint16_t, tile);
  for (unsigned i = threadIdx.x; i < 1024; i += blockDim.x) tile[i] = 1;
  __syncwarp();
  uint32_t r[4];
  emu::ldmatrix_x4(r, tile + 9 * threadIdx.x);
  out[threadIdx.x] = static_cast<float>(r[0]);
}

// --- running them ----------------------------------------------------------------------------------------------------

// Launches with one array of `n` floats, all zero.
template <void (*kernel)(float*), unsigned blocks, unsigned threads, size_t n, size_t shared_bytes = 0>
void with_output() {
  DeviceArray<float> out(std::vector<float>(n, 0.0f));
  launch(kernel, blocks, threads, shared_bytes, out.data);
  require_success(cudaDeviceSynchronize());
}

template <void (*kernel)(const float*, float*), unsigned threads, size_t n, size_t shared_bytes = 0>
void with_input() {
  DeviceArray<float> in(ramp(n)), out(std::vector<float>(n, 0.0f));
  launch(kernel, 1, threads, shared_bytes, in.data, out.data);
  require_success(cudaDeviceSynchronize());
}

template <void (*kernel)(int*)>
void with_counter() {
  DeviceArray<int> counter(std::vector<int>(1, 0));
  launch(kernel, 1, 64, 0, counter.data);
  require_success(cudaDeviceSynchronize());
}

template <void (*kernel)()>
void alone() {
  launch(kernel, 1, 1, 0);
  require_success(cudaDeviceSynchronize());
}

void run_write_behind_array() {
  DeviceArray<float> out(25);
  launch(write_behind_array, 1, 32, 0, out.data, 25);
  require_success(cudaDeviceSynchronize());
}

void run_read_behind_array() {
  DeviceArray<float> in(ramp(20)), out(20);
  launch(read_behind_array, 1, 32, 0, in.data, out.data, 20);
  require_success(cudaDeviceSynchronize());
}

void run_uninitialised_device() {
  DeviceArray<float> in(32), out(32);
  launch(copy, 1, 32, 0, in.data, out.data);
  require_success(cudaDeviceSynchronize());
}

void run_host_pointer() {
  const std::vector<float> in(32, 1.0f);
  DeviceArray<float> out(32);
  launch(copy, 1, 32, 0, in.data(), out.data);
  require_success(cudaDeviceSynchronize());
}

void run_null_pointer() {
  DeviceArray<float> out(32);
  launch(copy, 1, 32, 0, nullptr, out.data);
  require_success(cudaDeviceSynchronize());
}

void run_after_free() {
  DeviceArray<float> out(32);
  const float* freed;
  {
    DeviceArray<float> in(ramp(32));
    freed = in.data;
  }
  launch(copy, 1, 32, 0, freed, out.data);
  require_success(cudaDeviceSynchronize());
}

void run_index_behind_row() {
  DeviceArray<float> out(32);
  launch(index_behind_row, 1, 32, 0, out.data, 29);
  require_success(cudaDeviceSynchronize());
}

void run_division_by_zero() {
  DeviceArray<int> out(32);
  launch(division_by_zero, 1, 32, 0, out.data, 0);
  require_success(cudaDeviceSynchronize());
}

}  // namespace

std::vector<PlantedBug> planted_bugs() {
  const std::string unordered = "without a barrier between them", uninitialised = "of uninitialised memory";
  return {
      {"missing __syncthreads",
       with_output<missing_barrier, 1, 64, 64>,
       {"read of 4 bytes of uninitialised memory: shared array tile of 256 bytes", unordered}},
      {"missing second __syncthreads in a loop", with_output<missing_second_barrier, 1, 64, 64>, {unordered}},
      {"missing __syncwarp", with_output<missing_syncwarp, 1, 32, 32>, {uninitialised, unordered}},
      {"shuffle instead of __syncwarp", with_output<shuffle_for_syncwarp, 1, 32, 32>, {unordered}},
      {"__syncwarp of half a warp", with_output<syncwarp_of_half, 1, 32, 32>, {uninitialised, unordered}},
      {"two blocks write the same element",
       with_output<two_blocks_write, 2, 64, 64>,
       {"race: write of 4 bytes that thread "}},
      {"a block reads what another writes",
       with_output<block_reads_another_s, 2, 64, 128>,
       {", and blocks have no order: cudaMalloc #"}},
      {"write after two reads", with_output<write_after_two_reads, 1, 32, 1>, {unordered}},
      {"one byte of a pair", with_output<byte_of_a_pair, 1, 32, 1>, {unordered}},
      {"plain increment by all threads", with_output<plain_increment, 1, 64, 1>, {unordered}},
      {"atomicAdd beside a plain store", with_counter<atomic_and_plain>, {unordered}},
      {"atomicAdd of floats", with_output<float_atomic, 1, 64, 1>, {"the bits of the sum depend on the order"}},
      {"std::atomic", with_counter<cpp_atomic>, {"a C++ atomic is used in a kernel"}},
      {"write behind a device array", run_write_behind_array, {" of 100 bytes, 0 bytes behind its end"}},
      {"read behind a device array", run_read_behind_array, {"read of 4 bytes out of bounds: cudaMalloc #"}},
      {"read before a device array", with_input<read_before_array, 32, 32>, {" of 128 bytes, 4 bytes before it"}},
      {"write behind a shared array",
       with_output<write_behind_shared, 1, 64, 64>,
       {"write of 4 bytes out of bounds: shared array tile of 256 bytes, 0 bytes behind its end"}},
      {"write behind dynamic shared memory",
       with_output<write_behind_dynamic_shared, 1, 64, 64, 128>,
       {"write of 4 bytes out of bounds: dynamic shared memory of 128 bytes"}},
      {"index behind a row of a shared array",
       run_index_behind_row,
       {"index 29 is outside its dimension of the array"}},
      {"uninitialised element of a shared array",
       with_output<uninitialised_shared, 1, 64, 1>,
       {"read of 4 bytes of uninitialised memory: shared array tile of 256 bytes, at byte 28"}},
      {"uninitialised device memory", run_uninitialised_device, {"of uninitialised memory: cudaMalloc #"}},
#ifndef __clang__  // whose version 14 makes it a call of memcpy
      {"misaligned float4",
       with_input<copy4, 4, 32>,
       {"misaligned read of 16 bytes, address modulo 16 is 4", "misaligned address: modulo 16 it is 4"}},
#endif
      {"float4 in a shared array of floats",
       with_output<float4_in_float_array, 1, 64, 64>,
       {"misaligned write of ", "misaligned address: modulo 16 it is 4"}},
      {"host pointer", run_host_pointer, {"read of 4 bytes through a host pointer"}},
      {"null pointer", run_null_pointer, {"read of 4 bytes through a null pointer"}},
      {"variable of the host", alone<write_host_variable>, {"write of 4 bytes of a variable of the host program"}},
      {"local memory of another thread",
       with_output<other_thread_s_local_memory, 1, 64, 64>,
       {"in another thread's local memory"}},
      {"use after cudaFree", run_after_free, {"read of 4 bytes after cudaFree: freed cudaMalloc #"}},
      {"division by zero", run_division_by_zero, {"a division by zero"}},
      {"__trap", alone<trap_in_kernel>, {"__trap() was called"}},
      {"endless recursion", with_output<endless_recursion, 1, 2, 2>, {"the local memory of a thread is used up"}},
      {"lanes that do not come to a shuffle", with_output<shuffle_without_some, 1, 32, 32>, {", which has exited"}},
      {"mask without the calling lane",
       with_output<mask_without_caller, 1, 32, 32>,
       {"mask 0000ffff does not name the calling lane"}},
      {"shuffle from a lane outside the mask",
       with_output<source_outside_mask, 1, 32, 32>,
       {"reads lane 16, which mask 0000ffff does not name"}},
      {"mask that names lanes that do not exist",
       with_output<mask_of_missing_lanes, 1, 40, 40>,
       {"names lane 8, but the last warp of this block has 8 lanes"}},
      {"shuffle and __syncthreads",
       with_output<shuffle_against_barrier, 1, 32, 32>,
       {"for lane 9, which waits at __syncthreads"}},
      {"different warp operations",
       with_output<mixed_warp_operations, 1, 32, 32>,
       {"waits at __ballot_sync with mask ffffffff"}},
      {"the same shuffle in two branches",
       with_output<shuffles_in_two_branches, 1, 32, 32>,
       {"different warp operations: lane "}},
      {"__syncthreads in a branch",
       with_output<barrier_in_branch, 1, 64, 64>,
       {"__syncthreads reached by 32 of 64 threads; thread 32 has exited"}},
      {"early return before __syncthreads",
       with_output<early_return, 1, 64, 64>,
       {"__syncthreads reached by 63 of 64 threads; thread 5 has exited"}},
      {"__syncthreads at two places", with_output<two_barriers, 1, 64, 64>, {"__syncthreads at two places: thread "}},
      {"cp.async without a wait",
       with_input<async_without_wait, 32, 128, 512>,
       {"where an unfinished cp.async writes: dynamic shared memory"}},
      {"cp.async without a barrier after the wait",
       with_input<async_without_barrier, 32, 128, 512>,
       {"where an unfinished cp.async writes", uninitialised, unordered}},
      {"cp.async never waited for",
       with_input<async_never_waited_for, 32, 128, 512>,
       {"ends with 1 copies of cp.async that it has not waited for"}},
      {"cp.async that waits for too few groups",
       with_input<async_waits_for_too_few, 64, 256, 2048>,
       {"where an unfinished cp.async writes"}},
      {"cp.async whose source changes", with_output<async_source_changes, 1, 32, 128, 512>, {unordered}},
      {"cp.async from a misaligned source",
       [] {
         DeviceArray<float> in(ramp(256));
         launch(async_misaligned, 1, 32, 512, static_cast<const float*>(in.data));
         require_success(cudaDeviceSynchronize());
       },
       {"misaligned read of 16 bytes"}},
      {"misaligned ldmatrix", with_output<ldmatrix_misaligned, 1, 32, 32, 2048>, {"misaligned read of 16 bytes"}},
  };
}

void wait_for_another_block() { with_counter<wait_for_block>(); }

namespace {

__global__ void add_atomically(float* sum) { atomicAdd(sum, 1.0f / static_cast<float>(1 + threadIdx.x * threadIdx.x)); }

__global__ void increment(float* values, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) values[i] += 1;
}

__global__ void use_shared(float* out, int n) {
  DYNAMIC_SHARED(float, memory);
  for (int i = static_cast<int>(threadIdx.x); i < n; i += static_cast<int>(blockDim.x)) memory[i] = 1;
  __syncthreads();
  if (threadIdx.x == 0) out[0] = memory[n - 1];
}

__global__ void nothing() {}

}  // namespace

float sum_with_float_atomics() {
  DeviceArray<float> sum(std::vector<float>(1, 0.0f));
  launch(add_atomically, 1, 256, 0, sum.data);
  return sum.values()[0];
}

void launch_increment(float* values, int n) { launch(increment, static_cast<unsigned>(n + 63) / 64, 64, 0, values, n); }

void launch_with_shared(size_t bytes, size_t allowed) {
  if (allowed > 0) {
    require_success(
        cudaFuncSetAttribute(use_shared, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(allowed)));
  }
  DeviceArray<float> out(1);
  launch(use_shared, 1, 64, bytes, out.data, static_cast<int>(bytes / sizeof(float)));
  require_success(cudaDeviceSynchronize());
}

void launch_with_block(dim3 grid, dim3 block) { launch(nothing, grid, block, 0); }
