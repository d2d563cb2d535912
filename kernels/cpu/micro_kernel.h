// The innermost loop of every matrix product: a small tile of C is held in registers while k runs.
//
//             k ->                 B    one row of NV packs per word of k
//           +------+            +-------------+
//   A   MR  | a    |       k -> | b  b  b     |          C[r][v] += a * b,  MR * NV packs
//           +------+            +-------------+
//
// Each step loads NV packs of B, broadcasts MR words of A and does MR * NV multiply-adds. The tile, a row of B and one
// word of A must fit the registers: 32 of them with AVX-512 and NEON (8 x 3 + 3 + 1), 16 with AVX2 and SSE (4 x 3 + 3 +
// 1). MR * NV >= 8 would hide the latency of the multiply-add; more accumulators mean fewer loads for each.
#pragma once

#include <cstddef>

#include "kernels/cpu/operand.h"

namespace cpu {

#if defined(__AVX512F__) || defined(__ARM_NEON)
inline constexpr size_t kMicroRows = 8;
#else
inline constexpr size_t kMicroRows = 4;
#endif
inline constexpr size_t kMicroPacks = 3;

// How many words of k pass between two calls of `meanwhile`.
inline constexpr size_t kMeanwhile = 32;

// C = from + A B for one tile of MR x NV packs. Calls meanwhile() now and then, to ask for the memory that is wanted next.
//   A (MR,K): word (r, k) at a[offset(r, k)]   B (K, NV packs): row k at b + k * b_row
//   C: row r at c + r * c_row                  from: row r at from + r * from_row; may be c itself, or null for 0
template <class P, int MR, int NV, class Offset, class Meanwhile>
inline void micro_kernel(float* c, size_t c_row, const float* from, size_t from_row, const float* a, Offset offset,
                         const float* b, size_t b_row, size_t K, Meanwhile meanwhile) {
  constexpr size_t W = num::kPackWidth;
  Pack sum[MR][NV];
#pragma GCC unroll 16
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 4
    for (int v = 0; v < NV; v++) sum[r][v] = Pack(0);
  for (size_t begin = 0; begin < K; begin += kMeanwhile) {
    meanwhile();
    const size_t end = K - begin < kMeanwhile ? K : begin + kMeanwhile;
    for (size_t k = begin; k < end; k++) {
      Pack row[NV];
#pragma GCC unroll 4
      for (int v = 0; v < NV; v++) row[v] = Pack::load(b + k * b_row + v * W);
#pragma GCC unroll 16
      for (int r = 0; r < MR; r++) {
        const Pack broadcast = Pack::every_lane(a + offset(r, k));
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) sum[r][v] = Operand<P>::multiply_add(broadcast, row[v], sum[r][v]);
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 4
    for (int v = 0; v < NV; v++)
      (from ? Pack::load(from + r * from_row + v * W) + sum[r][v] : sum[r][v]).store(c + r * c_row + v * W);
}

}  // namespace cpu
