// One blocked product serves the three products of a linear layer, in any precision; transposes are a matter of strides,
// resolved while blocks are copied ("packed") into the order in which the innermost loop reads them:
//
//        K                     N
//      +---+           +---+---+---+---+
//    M | A | x       K | B | B | B | B |     1. all threads pack A into panels of kTileRows rows
//      | A |           +---+---+---+---+     2. jobs of kBlockM rows x some panels of the result: for each piece of
//      | A |                                    kBlockK of k, for each panel of kTileN columns:
//      +---+           +---+---+---+---+          pack the panel of B
//                    M |job|job|job|job|          for each panel of A: one tile (tile.h)
//                      |job|job|job|job|
//                      +---+---+---+---+     The order of the additions depends on K alone, so neither threads nor
//                                            blocks change a bit of the result.
#include "kernels/matmul.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/micro_kernel.h"
#include "kernels/cpu/operand.h"
#include "kernels/cpu/pack.h"
#include "kernels/cpu/parallel.h"

namespace cpu {

namespace {

constexpr size_t W = num::kPackWidth;
constexpr size_t kRows = kMicroRows, kColumns = kMicroPacks * W;

// Piece of K, in words: a panel of B of 48 columns takes 48 KiB, and a block of 512 rows of A 512 KiB, half of L2.
constexpr size_t kBlockK = 256;
constexpr size_t kBlockM = 512;
// Packed A, in words: 16 MiB, so that it stays in L3.
constexpr size_t kPackedA = size_t(4) << 20;
constexpr size_t kMostK = 4096;
constexpr size_t kGroup = 64;  // rows of A packed by one job
constexpr size_t kEnoughJobs = 32;

// A matrix seen through strides: element (i, j) at data[i * row + j * column]. One of the strides is 1.
struct View {
  const float* data;
  size_t row, column;
  const float* at(size_t i, size_t j) const { return data + i * row + j * column; }
  View from(size_t i, size_t j) const { return {at(i, j), row, column}; }
};

View transposed(View v) { return {v.data, v.column, v.row}; }

// Calls f(n), n a constant, with the number of packs that `columns` columns take, up to kMicroPacks.
template <class F>
void with_packs_for(size_t columns, F f) {
  static_assert(kMicroPacks == 3);
  if (columns > 2 * W)
    f(std::integral_constant<int, 3>());
  else if (columns > W)
    f(std::integral_constant<int, 2>());
  else
    f(std::integral_constant<int, 1>());
}

// Packs `count` rows of A (or columns of B, transposed) and `k_count` steps of k into panels of Width rows: word (i, k)
// at to[(i / Width) * Width * words + k * Width + i % Width]. Rows up to a multiple of Width and steps up to a multiple
// of kDepth are filled with zeros.
template <class P, size_t Width>
void pack(float* to, View from, size_t count, size_t k_count) {
  using O = Operand<P>;
  constexpr size_t kPiece = std::min(W, Width);  // neighbours that lie together both in a Pack and in a panel
  const size_t words = divide_up(k_count, O::kDepth), padded = round_up(count, Width);
  auto store = [&](const Pack& x, size_t i, size_t k) {
#pragma GCC unroll 4
    for (size_t begin = 0; begin < W; begin += kPiece)
      if (i + begin < padded)
        std::memcpy(to + (i + begin) / Width * Width * words + k * Width + (i + begin) % Width,
                    reinterpret_cast<const float*>(&x) + begin, kPiece * sizeof(float));
  };

  if (from.row == 1) {  // whole cache lines, several at a time, whatever the width of a panel
    constexpr size_t kTogether = 4 * W;
    for (size_t begin = 0; begin < padded; begin += kTogether)
      for (size_t k = 0; k < words; k++)
        for (size_t i = begin; i < std::min(begin + kTogether, padded); i += W) {
          const size_t lanes = i < count ? std::min(W, count - i) : 0,
                       depth = std::min(O::kDepth, k_count - k * O::kDepth);
          const float* x = from.at(i, k * O::kDepth);
          store(lanes == W && depth == O::kDepth ? O::across_k(x, from.column, O::kDepth, W)
                                                 : O::across_k(x, from.column, depth, lanes),
                i, k);
        }
    return;
  }
  for (size_t i = 0; i < padded; i += W)
    for (size_t k = 0; k < words; k += W) {
      const size_t left = k_count - k * O::kDepth;
      Pack x[W];
      if (i + W <= count && left >= W * O::kDepth) {
#pragma GCC unroll 16
        for (size_t r = 0; r < W; r++) x[r] = O::along_k(from.at(i + r, k * O::kDepth), W * O::kDepth);
      } else {
        for (size_t r = 0; r < W; r++)
          x[r] = i + r < count ? O::along_k(from.at(i + r, k * O::kDepth), std::min(left, W * O::kDepth)) : Pack(0);
      }
      num::transpose(x);
      for (size_t step = 0; step < std::min(W, words - k); step++) store(x[step], i, k + step);
    }
}

// One tile of C = from + A B from one panel of each. Where C ends inside the tile, it is computed beside C.
template <class P, int NV>
void tile(float* c, size_t c_row, const float* from, size_t from_row, const float* a, const float* b, size_t rows,
          size_t columns, size_t words) {
  constexpr size_t kWidth = NV * W;
  if (rows == kRows && columns == kWidth) return micro_kernel<P, kRows, NV>(c, c_row, from, from_row, a, b, words);
  alignas(64) float edge[kRows * kWidth];
  micro_kernel<P, kRows, NV>(edge, kWidth, nullptr, 0, a, b, words);
  for (size_t r = 0; r < rows; r++)
    for (size_t j = 0; j < columns; j++)
      c[r * c_row + j] = (from ? from[r * from_row + j] : 0.0f) + edge[r * kWidth + j];
}

// sums[j] += the sum of column j of `block` (k_count, columns), whose columns lie side by side.
void add_columns(float* sums, View block, size_t k_count, size_t columns) {
  num::for_each_pack(columns, [&](size_t j, size_t lanes) {
    Pack sum = Pack::load(sums + j, lanes);
    for (size_t k = 0; k < k_count; k++) sum += Pack::load(block.at(j, k), lanes);
    sum.store(sums + j, lanes);
  });
}

// C (M,N), row by row, = A (M,K) B (K,N) + bias (N), or += A B. `b` is B transposed: (N,K). bias may be null.
// column_sums (N), unless null: += the sums of B's columns.
template <class P>
void product(float* c, View a, View b, const float* bias, float* column_sums, size_t M, size_t N, size_t K, bool add) {
  constexpr size_t kDepth = Operand<P>::kDepth, kPiece = kBlockK * kDepth;
  const size_t most_k = std::min(round_up(K, kPiece), kMostK * kDepth);
  const size_t most_m = std::min(round_up(M, kRows), kPackedA * kDepth / most_k);
  float* packed_a = shared_scratch(most_m * most_k / kDepth);

  for (size_t ms = 0; ms < M; ms += most_m)
    for (size_t ks = 0; ks < K; ks += most_k) {
      const size_t rows = std::min(most_m, M - ms), padded = round_up(rows, kRows);
      const size_t steps = std::min(most_k, K - ks), pieces = divide_up(steps, kPiece);
      auto steps_in = [&](size_t k) { return std::min(kPiece, steps - k); };
      // Panel m / kRows of the piece of k that starts at k.
      auto panel_of_a = [&](size_t m, size_t k) {
        return packed_a + padded * k / kDepth + m * divide_up(steps_in(k), kDepth);
      };

      // 1. A
      const size_t groups = divide_up(rows, kGroup);
      parallel_jobs(groups * pieces, [&](size_t job) {
        const size_t m = job / pieces * kGroup, k = job % pieces * kPiece;
        pack<P, kRows>(panel_of_a(m, k), a.from(ms + m, ks + k), std::min(kGroup, rows - m), steps_in(k));
      });

      // 2. C
      const size_t block_m = round_up(divide_up(rows, divide_up(rows, kBlockM)), kRows);
      const size_t jobs_m = divide_up(rows, block_m), panels = divide_up(N, kColumns);
      const size_t jobs_n = std::min(panels, divide_up(kEnoughJobs, jobs_m));
      parallel_jobs(jobs_m * jobs_n, [&](size_t job) {
        const size_t m0 = job / jobs_n * block_m, m1 = std::min(rows, m0 + block_m);
        const size_t n0 = job % jobs_n * panels / jobs_n * kColumns;
        const size_t n1 = std::min(N, (job % jobs_n + 1) * panels / jobs_n * kColumns);
        float* packed_b = scratch(matmul_scratch_floats());
        for (size_t k = 0; k < steps; k += kPiece) {
          const bool first = ks + k == 0;
          for (size_t n = n0; n < n1; n += kColumns) {
            const size_t columns = std::min(kColumns, N - n);
            const View block = b.from(n, ks + k);
            if (column_sums && ms + m0 == 0) add_columns(column_sums + n, block, steps_in(k), columns);
            with_packs_for(columns, [&](auto packs) {
              pack<P, packs * W>(packed_b, block, columns, steps_in(k));
              for (size_t m = m0; m < m1; m += kRows) {
                float* to = c + (ms + m) * N + n;
                const float* from = !first || add ? to : bias ? bias + n : nullptr;
                tile<P, packs>(to, N, from, from == to ? N : 0, panel_of_a(m, k), packed_b, std::min(kRows, m1 - m),
                               columns, divide_up(steps_in(k), kDepth));
              }
            });
          }
        }
      });
    }
}

// The weight as a view (C,OC).
View weight_view(const float* weight, size_t C, size_t OC, WeightLayout layout) {
  return layout == WeightLayout::kInOut ? View{weight, OC, 1} : View{weight, 1, C};
}

}  // namespace

size_t matmul_scratch_floats() { return kBlockK * kColumns; }

template <class P>
void matmul_forward(float* out, const float* inp, const float* weight, const float* bias, size_t BT, size_t C,
                    size_t OC, WeightLayout layout) {
  product<P>(out, View{inp, C, 1}, transposed(weight_view(weight, C, OC, layout)), bias, nullptr, BT, OC, C, false);
}

template <class P>
void matmul_backward(float* dinp, float* dweight, float* dbias, const float* dout, const float* inp,
                     const float* weight, size_t BT, size_t C, size_t OC, WeightLayout layout) {
  const View d{dout, OC, 1}, x{inp, C, 1};

  // dinp (BT,C) = dout (BT,OC) W^T
  if (dinp) product<P>(dinp, d, weight_view(weight, C, OC, layout), nullptr, nullptr, BT, C, OC, false);

  // dW += inp^T dout, or its transpose; dbias += column sums of dout, which passes by
  if (dweight && layout == WeightLayout::kInOut)
    product<P>(dweight, transposed(x), transposed(d), nullptr, dbias, C, OC, BT, true);
  else if (dweight)
    product<P>(dweight, transposed(d), transposed(x), nullptr, nullptr, OC, C, BT, true);
  if (dbias && !(dweight && layout == WeightLayout::kInOut))
    parallel_blocks(OC, kColumns, [&](size_t begin, size_t end) {
      add_columns(dbias + begin, transposed(d).from(begin, 0), BT, end - begin);
    });
}

template void matmul_forward<fp32>(float*, const float*, const float*, const float*, size_t, size_t, size_t,
                                   WeightLayout);
template void matmul_forward<bf16>(float*, const float*, const float*, const float*, size_t, size_t, size_t,
                                   WeightLayout);
template void matmul_backward<fp32>(float*, float*, float*, const float*, const float*, const float*, size_t, size_t,
                                    size_t, WeightLayout);
template void matmul_backward<bf16>(float*, float*, float*, const float*, const float*, const float*, size_t, size_t,
                                    size_t, WeightLayout);

}  // namespace cpu
