// Kernels without fault, in the manners of a GPT trainer: the emulator must find nothing, and the same bits in every
// schedule.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "test_kernels.h"

namespace {

constexpr unsigned kAll = 0xffffffff;

uint16_t to_bf16(float value) {  // of numbers that bf16 holds exactly
  return static_cast<uint16_t>(__builtin_bit_cast(uint32_t, value) >> 16);
}

__device__ float warp_sum(float value) {
  for (int lanes = 16; lanes > 0; lanes /= 2) value += __shfl_xor_sync(kAll, value, lanes);
  return value;
}

__device__ float warp_max(float value) {
  for (int lanes = 16; lanes > 0; lanes /= 2) value = fmaxf(value, __shfl_xor_sync(kAll, value, lanes));
  return value;
}

__device__ float block_sum(float value) {
  SHARED_ARRAY(float, of_warp, [32]);
  const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  value = warp_sum(value);
  if (lane == 0) of_warp[warp] = value;
  __syncthreads();
  value = warp_sum(lane < blockDim.x / 32 ? of_warp[lane] : 0.0f);
  __syncthreads();
  return value;
}

// --- LayerNorm: a block for each row ---------------------------------------------------------------------------------

constexpr int kRows = 6, kColumns = 100;

__global__ void layernorm(const float* in, float* out) {
  const float* row = in + blockIdx.x * kColumns;
  float sum = 0, squares = 0;
  for (unsigned c = threadIdx.x; c < kColumns; c += blockDim.x) sum += row[c];
  const float mean = block_sum(sum) / kColumns;
  for (unsigned c = threadIdx.x; c < kColumns; c += blockDim.x) squares += (row[c] - mean) * (row[c] - mean);
  const float rstd = rsqrtf(block_sum(squares) / kColumns + 1e-5f);
  for (unsigned c = threadIdx.x; c < kColumns; c += blockDim.x) out[blockIdx.x * kColumns + c] = (row[c] - mean) * rstd;
}

std::vector<float> wave(size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = std::sin(0.37f * static_cast<float>(i));
  return values;
}

std::vector<float> run_layernorm() {
  DeviceArray<float> in(wave(kRows * kColumns)), out(kRows * kColumns);
  launch(layernorm, kRows, 96, 0, in.data, out.data);
  return out.values();
}

std::vector<float> expect_layernorm() {
  std::vector<float> values = wave(kRows * kColumns);
  for (int r = 0; r < kRows; ++r) {
    float* row = values.data() + r * kColumns;
    double mean = 0, variance = 0;
    for (int c = 0; c < kColumns; ++c) mean += row[c] / kColumns;
    for (int c = 0; c < kColumns; ++c) variance += (row[c] - mean) * (row[c] - mean) / kColumns;
    for (int c = 0; c < kColumns; ++c) row[c] = static_cast<float>((row[c] - mean) / std::sqrt(variance + 1e-5));
  }
  return values;
}

// --- transpose through a tile ----------------------------------------------------------------------------------------

constexpr unsigned kHeight = 40, kWidth = 70;

__global__ void transpose(const float* in, float* out) {
  SHARED_ARRAY(float, tile, [32][33]);
  const unsigned x = blockIdx.x * 32 + threadIdx.x, y = blockIdx.y * 32 + threadIdx.y;
  for (unsigned i = 0; i < 32; i += 8) {
    if (x < kWidth && y + i < kHeight) tile[threadIdx.y + i][threadIdx.x] = in[(y + i) * kWidth + x];
  }
  __syncthreads();
  const unsigned to_x = blockIdx.y * 32 + threadIdx.x, to_y = blockIdx.x * 32 + threadIdx.y;
  for (unsigned i = 0; i < 32; i += 8) {
    if (to_x < kHeight && to_y + i < kWidth) out[(to_y + i) * kHeight + to_x] = tile[threadIdx.x][threadIdx.y + i];
  }
}

std::vector<float> run_transpose() {
  DeviceArray<float> in(ramp(kHeight * kWidth)), out(kHeight * kWidth);
  launch(transpose, dim3((kWidth + 31) / 32, (kHeight + 31) / 32), dim3(32, 8), 0, in.data, out.data);
  return out.values();
}

std::vector<float> expect_transpose() {
  std::vector<float> values(kHeight * kWidth);
  for (size_t y = 0; y < kHeight; ++y) {
    for (size_t x = 0; x < kWidth; ++x) values[x * kHeight + y] = static_cast<float>(y * kWidth + x);
  }
  return values;
}

// --- tree reduction and column sums ----------------------------------------------------------------------------------

__global__ void tree_sum(const float* in, float* out) {
  SHARED_ARRAY(float, sums, [128]);
  sums[threadIdx.x] = in[blockIdx.x * 128 + threadIdx.x];
  for (unsigned stride = 64; stride > 0; stride /= 2) {
    __syncthreads();
    if (threadIdx.x < stride) sums[threadIdx.x] += sums[threadIdx.x + stride];
  }
  if (threadIdx.x == 0) out[blockIdx.x] = sums[0];
}

std::vector<float> run_tree_sum() {
  DeviceArray<float> in(ramp(512)), out(4);
  launch(tree_sum, 4, 128, 0, in.data, out.data);
  return out.values();
}

std::vector<float> expect_tree_sum() {
  std::vector<float> sums(4, 0.0f);
  for (size_t i = 0; i < 512; ++i) sums[i / 128] += static_cast<float>(i);
  return sums;
}

__global__ void column_sum(const float* in, float* out, int rows, int columns) {
  SHARED_ARRAY(float, partial, [8][32]);
  const int column = static_cast<int>(blockIdx.x * 32 + threadIdx.x);
  float sum = 0;
  for (int row = static_cast<int>(threadIdx.y); row < rows && column < columns; row += 8)
    sum += in[row * columns + column];
  partial[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || column >= columns) return;
  for (int i = 1; i < 8; ++i) sum += partial[i][threadIdx.x];
  out[column] += sum;
}

std::vector<float> run_column_sum() {
  DeviceArray<float> in(ramp(37 * 45)), out(std::vector<float>(45, 1.0f));
  launch(column_sum, 2, dim3(32, 8), 0, in.data, out.data, 37, 45);
  return out.values();
}

std::vector<float> expect_column_sum() {
  std::vector<float> sums(45, 1.0f);
  for (size_t i = 0; i < 37 * 45; ++i) sums[i % 45] += static_cast<float>(i);
  return sums;
}

// --- softmax: a warp for each row ------------------------------------------------------------------------------------

constexpr unsigned kScores = 75;

__global__ void softmax(const float* in, float* out, unsigned rows) {
  const unsigned row = blockIdx.x * blockDim.y + threadIdx.y;
  if (row >= rows) return;  // the whole warp
  float largest = -INFINITY, sum = 0;
  for (unsigned i = threadIdx.x; i < kScores; i += 32) largest = fmaxf(largest, in[row * kScores + i]);
  largest = warp_max(largest);
  for (unsigned i = threadIdx.x; i < kScores; i += 32) sum += expf(in[row * kScores + i] - largest);
  sum = warp_sum(sum);
  for (unsigned i = threadIdx.x; i < kScores; i += 32) {
    out[row * kScores + i] = expf(in[row * kScores + i] - largest) / sum;
  }
}

std::vector<float> run_softmax() {
  DeviceArray<float> in(wave(7 * kScores)), out(7 * kScores);
  launch(softmax, 2, dim3(32, 4), 0, in.data, out.data, 7);
  return out.values();
}

std::vector<float> expect_softmax() {
  std::vector<float> values = wave(7 * kScores);
  for (size_t row = 0; row < 7; ++row) {
    double sum = 0;
    for (size_t i = 0; i < kScores; ++i) sum += std::exp(static_cast<double>(values[row * kScores + i]));
    for (size_t i = 0; i < kScores; ++i) {
      values[row * kScores + i] = static_cast<float>(std::exp(static_cast<double>(values[row * kScores + i])) / sum);
    }
  }
  return values;
}

// --- AdamW in place, four at a time ----------------------------------------------------------------------------------

__global__ void adamw(float4* parameters, float4* m, float4* v, const float4* gradients, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= n) return;
  const float4 g = __ldcs(gradients + i);
  float4 p = parameters[i], first = m[i], second = v[i];
  const auto step = [](float& p, float& m, float& v, float g) {
    m = 0.9f * m + 0.1f * g;
    v = 0.95f * v + 0.05f * g * g;
    p -= 0.01f * (m / (sqrtf(v) + 1e-8f) + 0.1f * p);
  };
  step(p.x, first.x, second.x, g.x);
  step(p.y, first.y, second.y, g.y);
  step(p.z, first.z, second.z, g.z);
  step(p.w, first.w, second.w, g.w);
  parameters[i] = p;
  __stcs(m + i, first);
  __stcs(v + i, second);
}

std::vector<float> run_adamw() {
  DeviceArray<float4> p(75), m(75), v(75), g(75);
  const std::vector<float> gradients = wave(300);
  require_success(cudaMemset(p.data, 0, 1200));
  require_success(cudaMemset(m.data, 0, 1200));
  require_success(cudaMemset(v.data, 0, 1200));
  require_success(cudaMemcpy(g.data, gradients.data(), 1200, cudaMemcpyHostToDevice));
  for (int step = 0; step < 2; ++step) {
    launch(adamw, 2, 64, 0, p.data, m.data, v.data, static_cast<const float4*>(g.data), 75);
  }
  std::vector<float> result(300);
  require_success(cudaMemcpy(result.data(), p.data, 1200, cudaMemcpyDeviceToHost));
  return result;
}

std::vector<float> expect_adamw() {
  const std::vector<float> gradients = wave(300);
  std::vector<float> result(300);
  for (size_t i = 0; i < 300; ++i) {
    double p = 0, m = 0, v = 0;
    for (int step = 0; step < 2; ++step) {
      const double g = gradients[i];
      m = 0.9 * m + 0.1 * g;
      v = 0.95 * v + 0.05 * g * g;
      p -= 0.01 * (m / (std::sqrt(v) + 1e-8) + 0.1 * p);
    }
    result[i] = static_cast<float>(p);
  }
  return result;
}

// --- a bf16 product: cp.async, ldmatrix, mma -------------------------------------------------------------------------

// C (32,48) = A (32,64) B (64,48), row-major; 6 warps, each 16 rows and 16 columns of C.
constexpr int kM = 32, kN = 48, kK = 64, kPadding = 8;

struct Operands {
  std::vector<uint16_t> a, b;
};

Operands make_operands() {
  Operands operands{std::vector<uint16_t>(kM * kK), std::vector<uint16_t>(kK * kN)};
  const auto fill = [](std::vector<uint16_t>& values, unsigned seed) {
    for (uint16_t& value : values) {
      seed = seed * 1664525 + 1013904223;
      value = to_bf16(static_cast<float>(static_cast<int>(seed >> 24) - 128) / 64.0f);
    }
  };
  fill(operands.a, 1);
  fill(operands.b, 2);
  return operands;
}

// In slices of 16 of k, the next one on its way while this one is multiplied.
__global__ void product(const uint16_t* a, const uint16_t* b, float* c) {
  SHARED_ARRAY(uint4, a_tile, [2][kM][(16 + kPadding) / 8]);
  SHARED_ARRAY(uint4, b_tile, [2][16][(kN + kPadding) / 8]);
  const unsigned thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  const unsigned row = warp / 3 * 16, column = warp % 3 * 16;
  const auto fetch = [&](int slice) {
    const int buffer = slice % 2, k = slice * 16;
    if (thread < kM * 2)
      emu::cp_async_16(&a_tile[buffer][thread / 2][thread % 2], a + thread / 2 * kK + k + thread % 2 * 8);
    if (thread < 16 * kN / 8)
      emu::cp_async_16(&b_tile[buffer][thread / 6][thread % 6], b + (k + thread / 6) * kN + thread % 6 * 8);
    emu::cp_async_commit();
  };
  float sums[2][4] = {};
  fetch(0);
  for (int slice = 0; slice < kK / 16; ++slice) {
    if (slice + 1 < kK / 16) fetch(slice + 1);
    emu::cp_async_wait(slice + 1 < kK / 16 ? 1 : 0);
    __syncthreads();
    uint32_t a_part[4], b_part[4];
    emu::ldmatrix_x4(a_part, &a_tile[slice % 2][row + lane % 16][lane / 16]);
    emu::ldmatrix_x4_trans(b_part, &b_tile[slice % 2][lane % 16][column / 8 + lane / 16]);
    for (int half = 0; half < 2; ++half) {
      const uint32_t b_half[2] = {b_part[2 * half], b_part[2 * half + 1]};
      emu::mma_m16n8k16_bf16(sums[half], a_part, b_half);
    }
    __syncthreads();
  }
  for (unsigned half = 0; half < 2; ++half) {
    for (unsigned i = 0; i < 4; ++i) {
      c[(row + lane / 4 + 8 * (i / 2)) * kN + column + 8 * half + lane % 4 * 2 + i % 2] = sums[half][i];
    }
  }
}

std::vector<float> run_product() {
  const Operands operands = make_operands();
  DeviceArray<uint16_t> a(operands.a), b(operands.b);
  DeviceArray<float> c(kM * kN);
  launch(product, 1, 192, 0, static_cast<const uint16_t*>(a.data), static_cast<const uint16_t*>(b.data), c.data);
  return c.values();
}

float from_bf16(uint16_t bits) { return __builtin_bit_cast(float, static_cast<uint32_t>(bits) << 16); }

// In the order of k, every step rounded: the emulated instruction has the same bits.
std::vector<float> expect_product() {
  const Operands operands = make_operands();
  std::vector<float> c(kM * kN, 0.0f);
  for (int i = 0; i < kM * kN; ++i) {
    const int row = i / kN, column = i % kN;
    float& sum = c[static_cast<size_t>(i)];
    for (int k = 0; k < kK; ++k) {
      const float product = from_bf16(operands.a[static_cast<size_t>(row * kK + k)]) *
                            from_bf16(operands.b[static_cast<size_t>(k * kN + column)]);
      sum += product;
    }
  }
  return c;
}

// --- warps that exchange through shared memory -----------------------------------------------------------------------

// Each warp reverses its 32 numbers four times: all of it, then its halves on their own, and again.
__global__ void reverse_in_warps(const float* in, float* out) {
  SHARED_ARRAY(float, memory, [4][32]);
  const unsigned lane = threadIdx.x % 32, half = lane / 16, i = blockIdx.x * blockDim.x + threadIdx.x;
  float* const values = memory[threadIdx.x / 32];
  float value = in[i];
  for (int round = 0; round < 2; ++round) {
    values[lane] = value;
    __syncwarp();
    value = values[31 - lane];
    __syncwarp();
    values[lane] = value;
    __syncwarp(half == 0 ? 0x0000ffffu : 0xffff0000u);
    value = values[half * 16 + 15 - lane % 16];
    __syncwarp();
  }
  out[i] = value + 1000 * static_cast<float>(__popc(__ballot_sync(kAll, lane % 3 == 0)));
}

std::vector<float> run_reverse() {
  DeviceArray<float> in(ramp(256)), out(256);
  launch(reverse_in_warps, 2, 128, 0, static_cast<const float*>(in.data), out.data);
  return out.values();
}

std::vector<float> expect_reverse() {
  std::vector<float> values = ramp(256);
  for (float& value : values) value += 11000;  // reversing all and then the halves, twice, is nothing
  return values;
}

// Halves of a warp that go different ways, each with its own mask and number of shuffles; a last warp of 8 lanes.
__global__ void halves(float* out) {
  const unsigned lane = threadIdx.x % 32;
  float value = static_cast<float>(threadIdx.x);
  if (threadIdx.x >= 64) {
    for (int lanes = 4; lanes > 0; lanes /= 2) value += __shfl_xor_sync(0xff, value, lanes);
  } else if (lane < 16) {
    for (int lanes = 8; lanes > 0; lanes /= 2)
      value += __shfl_down_sync(0x0000ffff, value, static_cast<unsigned>(lanes), 16);
    value = __shfl_sync(0x0000ffff, value, 0, 16);
  } else if (__any_sync(0xffff0000, lane == 20) && !__all_sync(0xffff0000, lane == 20)) {
    value += __shfl_up_sync(0xffff0000, value, 1, 8);
  }
  out[threadIdx.x] = value;
}

std::vector<float> run_halves() {
  DeviceArray<float> out(72);
  launch(halves, 1, 72, 0, out.data);
  return out.values();
}

std::vector<float> expect_halves() {
  std::vector<float> values = ramp(72);
  for (size_t i = 0; i < 72; ++i) {
    const size_t lane = i % 32;
    if (i >= 64) values[i] = 8 * 64 + 28;
    if (i < 64 && lane < 16) values[i] = static_cast<float>(16 * (i - lane) + 120);
    if (i < 64 && lane >= 16) values[i] += static_cast<float>(lane % 8 == 0 ? i : i - 1);
  }
  return values;
}

// --- neighbours ------------------------------------------------------------------------------------------------------

// Threads write bytes and pairs of bytes beside each other, in device and shared memory.
__global__ void narrow(uint8_t* bytes, uint16_t* pairs) {
  SHARED_ARRAY(uint8_t, shared_bytes, [64]);
  SHARED_ARRAY(uint16_t, shared_pairs, [64]);
  shared_bytes[threadIdx.x] = static_cast<uint8_t>(threadIdx.x);
  shared_pairs[threadIdx.x] = static_cast<uint16_t>(3 * threadIdx.x);
  bytes[threadIdx.x] = static_cast<uint8_t>(2 * shared_bytes[threadIdx.x]);
  pairs[threadIdx.x] = static_cast<uint16_t>(shared_pairs[threadIdx.x] + 1);
  __syncthreads();
  if (threadIdx.x < 16) {
    const uint32_t four = reinterpret_cast<const uint32_t*>(bytes)[threadIdx.x];
    pairs[threadIdx.x] = static_cast<uint16_t>(pairs[threadIdx.x] + (four >> 24));
  }
}

std::vector<float> run_narrow() {
  DeviceArray<uint8_t> bytes(64);
  DeviceArray<uint16_t> pairs(64);
  launch(narrow, 1, 64, 0, bytes.data, pairs.data);
  std::vector<float> result;
  for (uint8_t value : bytes.values()) result.push_back(value);
  for (uint16_t value : pairs.values()) result.push_back(value);
  return result;
}

std::vector<float> expect_narrow() {
  std::vector<float> result;
  for (int i = 0; i < 64; ++i) result.push_back(static_cast<float>(2 * i));
  for (int i = 0; i < 64; ++i) result.push_back(static_cast<float>(3 * i + 1 + (i < 16 ? 2 * (4 * i + 3) : 0)));
  return result;
}

// --- double buffers, dynamic shared memory, integer atomics ----------------------------------------------------------

// Each round every thread takes its neighbour's number of the round before; one barrier a round is enough for two
// buffers.
__global__ void rotate(float* out, int rounds) {
  DYNAMIC_SHARED(float, buffers);
  float value = static_cast<float>(threadIdx.x);
  for (int round = 0; round < rounds; ++round) {
    float* buffer = buffers + round % 2 * static_cast<int>(blockDim.x);
    buffer[threadIdx.x] = value;
    __syncthreads();
    value = buffer[(threadIdx.x + 1) % blockDim.x];
  }
  out[threadIdx.x] = value;
}

std::vector<float> run_rotate() {
  DeviceArray<float> out(96);
  launch(rotate, 1, 96, 2 * 96 * sizeof(float), out.data, 10);
  return out.values();
}

std::vector<float> expect_rotate() {
  std::vector<float> values(96);
  for (size_t i = 0; i < 96; ++i) values[i] = static_cast<float>((i + 10) % 96);
  return values;
}

// Sums 16 numbers for each thread, with zeros behind the end of the array.
__global__ void padded_sum(const float* in, float* out, int n) {
  SHARED_ARRAY(float4, tile, [32][4]);
  float sum = 0;
  for (int part = 0; part < 4; ++part) {
    const int first = static_cast<int>(threadIdx.x) * 16 + part * 4, left = max(0, min(4, n - first));
    emu::cp_async_16(&tile[threadIdx.x][part], in + (left > 0 ? first : 0), left * static_cast<int>(sizeof(float)));
  }
  emu::cp_async_commit();
  emu::cp_async_wait(0);
  for (const float4& four : tile[threadIdx.x]) sum += four.x + four.y + four.z + four.w;
  out[threadIdx.x] = sum;
}

std::vector<float> run_padded_sum() {
  DeviceArray<float> in(ramp(131)), out(32);
  launch(padded_sum, 1, 32, 0, static_cast<const float*>(in.data), out.data, 131);
  return out.values();
}

std::vector<float> expect_padded_sum() {
  std::vector<float> sums(32, 0.0f);
  for (size_t i = 0; i < 131; ++i) sums[i / 16] += static_cast<float>(i);
  return sums;
}

__global__ void histogram(const int* in, int* counts, unsigned* largest, unsigned long long* total, int n) {
  SHARED_ARRAY(int, local, [8]);
  if (threadIdx.x < 8) local[threadIdx.x] = 0;
  __syncthreads();
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) {
    atomicAdd(&local[in[i] % 8], 1);
    atomicMax(largest, static_cast<unsigned>(in[i]));
    atomicAdd(total, static_cast<unsigned long long>(in[i]));
  }
  __syncthreads();
  if (threadIdx.x < 8) atomicAdd(&counts[threadIdx.x], local[threadIdx.x]);
}

std::vector<float> run_histogram() {
  std::vector<int> values(500);
  for (int i = 0; i < 500; ++i) values[static_cast<size_t>(i)] = i * i % 101;
  DeviceArray<int> in(values), counts(std::vector<int>(8, 0));
  DeviceArray<unsigned> largest(std::vector<unsigned>(1, 0u));
  DeviceArray<unsigned long long> total(std::vector<unsigned long long>(1, 0ull));
  launch(histogram, 4, 128, 0, static_cast<const int*>(in.data), counts.data, largest.data, total.data, 500);
  std::vector<float> result;
  for (int count : counts.values()) result.push_back(static_cast<float>(count));
  result.push_back(static_cast<float>(largest.values()[0]));
  result.push_back(static_cast<float>(total.values()[0]));
  return result;
}

std::vector<float> expect_histogram() {
  std::vector<float> result(10, 0.0f);
  for (int i = 0; i < 500; ++i) {
    const int value = i * i % 101;
    result[static_cast<size_t>(value % 8)] += 1;
    result[8] = std::max(result[8], static_cast<float>(value));
    result[9] += static_cast<float>(value);
  }
  return result;
}

// Structures, which the compiler copies in pieces of its own, by value and in memory.
struct Statistics {
  float largest, sum, count;
};

__global__ void merge_statistics(const float* in, Statistics* out, Statistics start) {
  SHARED_ARRAY(Statistics, of_thread, [64]);
  Statistics mine = start;
  for (unsigned i = threadIdx.x; i < 200; i += 64) {
    mine.largest = fmaxf(mine.largest, in[i]);
    mine.sum += in[i];
    mine.count += 1;
  }
  of_thread[threadIdx.x] = mine;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int i = 1; i < 64; ++i) {
    const Statistics other = of_thread[i];
    mine = {fmaxf(mine.largest, other.largest), mine.sum + other.sum, mine.count + other.count};
  }
  *out = mine;
}

std::vector<float> run_statistics() {
  DeviceArray<float> in(ramp(200));
  DeviceArray<Statistics> out(1);
  launch(merge_statistics, 1, 64, 0, static_cast<const float*>(in.data), out.data, Statistics{-1, 0, 0});
  const Statistics result = out.values()[0];
  return {result.largest, result.sum, result.count};
}

std::vector<float> expect_statistics() { return {199, 19900, 200}; }

}  // namespace

std::vector<KnownGood> known_good() {
  return {
      {"LayerNorm", run_layernorm, expect_layernorm, 1e-5f},
      {"transpose", run_transpose, expect_transpose, 0},
      {"tree reduction", run_tree_sum, expect_tree_sum, 0},
      {"column sums", run_column_sum, expect_column_sum, 0},
      {"softmax", run_softmax, expect_softmax, 1e-6f},
      {"AdamW", run_adamw, expect_adamw, 1e-6f},
      {"product on tensor cores", run_product, expect_product, 0},
      {"__syncwarp", run_reverse, expect_reverse, 0},
      {"halves of warps", run_halves, expect_halves, 0},
      {"neighbouring bytes", run_narrow, expect_narrow, 0},
      {"double buffers", run_rotate, expect_rotate, 0},
      {"cp.async with zeros", run_padded_sum, expect_padded_sum, 0},
      {"integer atomics", run_histogram, expect_histogram, 0},
      {"structures", run_statistics, expect_statistics, 0},
  };
}
