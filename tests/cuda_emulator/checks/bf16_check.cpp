// Where CUDA is installed: attnorm's bf16 has the bits of the real cuda_bf16.h, on the host, for every 61st float and
// all 65,536 values. Prints one line; the exit code is 1 where they differ.
//   g++ -std=c++20 -O2 -fopenmp -I. -I/usr/local/cuda/include tests/cuda_emulator/checks/bf16_check.cpp
#include <cuda_bf16.h>

#include <cstdint>
#include <cstdio>

#include "kernels/precision.h"

namespace {

uint16_t real_bits(float value) { return static_cast<__nv_bfloat16_raw>(__float2bfloat16_rn(value)).x; }

float real_value(uint16_t bits) {
  __nv_bfloat16_raw raw;
  raw.x = bits;
  return __bfloat162float(__nv_bfloat16(raw));
}

int64_t count_of_different_roundings() {
  int64_t different = 0;
#pragma omp parallel for reduction(+ : different)
  for (int64_t bits = 0; bits < int64_t{1} << 32; bits += 61) {
    const float value = __builtin_bit_cast(float, static_cast<uint32_t>(bits));
    if (round_to<bf16>(value).bits != real_bits(value)) ++different;
  }
  return different;
}

int64_t count_of_different_values() {
  int64_t different = 0;
  for (uint32_t bits = 0; bits < 1 << 16; ++bits) {
    const float ours = to_float(bf16{static_cast<uint16_t>(bits)}), real = real_value(static_cast<uint16_t>(bits));
    if (__builtin_bit_cast(uint32_t, ours) != __builtin_bit_cast(uint32_t, real)) ++different;
  }
  return different;
}

}  // namespace

int main() {
  const int64_t roundings = count_of_different_roundings(), values = count_of_different_values();
  std::printf("bf16: %lld of 70409300 roundings and %lld of 65536 values differ from cuda_bf16.h\n",
              static_cast<long long>(roundings), static_cast<long long>(values));
  return roundings + values > 0;
}
