// The innermost loop of every matrix product: a small tile of the result is held in registers while k runs.
//
//             k ->                 B    one row of NV packs per k
//           +------+            +-------------+
//   A   MR  | a    |       k -> | b  b  b     |          C[r][v] += a * b,  MR * NV packs
//           +------+            +-------------+
//
// Each step of k loads NV packs of B, broadcasts MR numbers of A and does MR * NV fused multiply-adds. The tile must
// fit the registers: 32 with AVX-512 and NEON, 16 with AVX2 and SSE; and MR * NV >= 8 hides the latency of the
// multiply-add.
#pragma once

#include <cstddef>

#include "kernels/cpu/pack.h"

namespace cpu {

#if defined(__AVX512F__) || defined(__ARM_NEON)
inline constexpr int kTileRows = 8, kTilePacks = 3;
#else
inline constexpr int kTileRows = 6, kTilePacks = 2;
#endif

// C = (or, with `add`, +=) A B for one tile of MR x NV packs.
//   A (MR,K): element (r, k) at a[r * a_row + k * a_k]     B (K, NV packs): row k at b + k * b_row
//   C (MR, NV packs): row r at c + r * c_row
template <int MR, int NV>
inline void tile(float* c, size_t c_row, const float* a, size_t a_row, size_t a_k, const float* b, size_t b_row,
                 size_t K, bool add) {
  using num::Pack;
  constexpr size_t W = num::kPackWidth;
  Pack sum[MR][NV];
#pragma GCC unroll 16
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 4
    for (int v = 0; v < NV; v++) sum[r][v] = Pack(0);
  for (size_t k = 0; k < K; k++) {
    Pack row[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; v++) row[v] = Pack::load(b + k * b_row + v * W);
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++) {
      Pack broadcast(a[r * a_row + k * a_k]);
#pragma GCC unroll 4
      for (int v = 0; v < NV; v++) sum[r][v] = num::fma(broadcast, row[v], sum[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 4
    for (int v = 0; v < NV; v++) {
      float* to = c + r * c_row + v * W;
      (add ? Pack::load(to) + sum[r][v] : sum[r][v]).store(to);
    }
}

}  // namespace cpu
