// One blocked product serves the three products of a linear layer; transposes are a matter of strides, resolved while
// blocks are copied ("packed") into the order in which the innermost loop reads them:
//
//                  N                     job: kBlockM x kBlockN of the result, fewer where there would be too few jobs
//         +-----+-----+-----+            in a job: for each piece of kBlockK of k
//       M | job | job | job |              pack B into panels of kTileN columns, A into panels of kTileRows rows
//         +-----+-----+-----+              for each panel of B, for each panel of A: one tile (tile.h)
//         | job | job | job |
//         +-----+-----+-----+            The order of the additions depends on K alone, so neither threads nor blocks
//                                        change a bit of the result.
#include "kernels/matmul.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/pack.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/tile.h"

namespace cpu {

using num::Pack;

namespace {

constexpr size_t kTileN = kTilePacks * num::kPackWidth;
constexpr size_t kBlockM = 192, kBlockK = 256, kBlockN = 384;  // packed A 192 KiB, packed B 384 KiB: both stay in L2
constexpr size_t kLeastM = 48, kLeastN = 96, kEnoughJobs = 16;

static_assert(kBlockM % kTileRows == 0 && kLeastM % kTileRows == 0);

// A matrix seen through strides: element (i, j) at data[i * row + j * column].
struct View {
  const float* data;
  size_t row, column;
  const float* at(size_t i, size_t j) const { return data + i * row + j * column; }
};

// Copies `k_count` x `count` elements into panels of `width`: panel p holds, for each k, elements p width .. p width +
// width - 1, zeros beyond `count`. `along(i, k)` is the address of element i at k; one of the two strides is 1.
void pack(float* to, const float* from, size_t stride, size_t stride_k, size_t count, size_t k_count, size_t width) {
  for (size_t begin = 0; begin < count; begin += width, to += width * k_count) {
    const float* panel = from + begin * stride;
    size_t used = count - begin < width ? count - begin : width;
    if (used < width) std::memset(to, 0, width * k_count * sizeof(float));
    if (stride == 1) {
      for (size_t k = 0; k < k_count; k++) std::memcpy(to + k * width, panel + k * stride_k, used * sizeof(float));
    } else {
      for (size_t i = 0; i < used; i++)
        for (size_t k = 0; k < k_count; k++) to[k * width + i] = panel[i * stride + k * stride_k];
    }
  }
}

// Adds the product of one packed panel of A and one of B to `rows` x `columns` of C; the first piece of k may
// overwrite.
void panel_product(float* c, size_t c_row, const float* a, const float* b, size_t rows, size_t columns, size_t K,
                   bool add) {
  if (rows == kTileRows && columns == kTileN)
    return tile<kTileRows, kTilePacks>(c, c_row, a, 1, kTileRows, b, kTileN, K, add);
  alignas(64) float edge[kTileRows * kTileN];
  tile<kTileRows, kTilePacks>(edge, kTileN, a, 1, kTileRows, b, kTileN, K, false);
  for (size_t r = 0; r < rows; r++)
    for (size_t j = 0; j < columns; j++)
      c[r * c_row + j] = add ? c[r * c_row + j] + edge[r * kTileN + j] : edge[r * kTileN + j];
}

// C (M,N), row by row, = A (M,K) B (K,N) + bias (N), or += A B. bias may be null.
void product(float* c, View a, View b, const float* bias, size_t M, size_t N, size_t K, bool add) {
  size_t block_m = kBlockM, block_n = kBlockN;
  auto jobs_m = [&] { return divide_up(M, block_m); };
  auto jobs_n = [&] { return divide_up(N, block_n); };
  while (jobs_m() * jobs_n() < kEnoughJobs && (block_m > kLeastM || block_n > kLeastN)) {
    if (block_n > 2 * block_m || block_m == kLeastM)
      block_n /= 2;
    else
      block_m /= 2;
  }

  parallel_jobs(jobs_m() * jobs_n(), [&](size_t job) {
    const size_t m0 = job / jobs_n() * block_m, m1 = std::min(M, m0 + block_m);
    const size_t n0 = job % jobs_n() * block_n, n1 = std::min(N, n0 + block_n);
    float* packed_a = scratch(matmul_scratch_floats());
    float* packed_b = packed_a + kBlockM * kBlockK;

    for (size_t k0 = 0; k0 < K; k0 += kBlockK) {
      const size_t k_count = std::min(kBlockK, K - k0);
      pack(packed_b, b.at(k0, n0), b.column, b.row, n1 - n0, k_count, kTileN);
      pack(packed_a, a.at(m0, k0), a.row, a.column, m1 - m0, k_count, kTileRows);
      for (size_t n = n0; n < n1; n += kTileN)
        for (size_t m = m0; m < m1; m += kTileRows)
          panel_product(c + m * N + n, N, packed_a + (m - m0) * k_count, packed_b + (n - n0) * k_count,
                        std::min<size_t>(kTileRows, m1 - m), std::min(kTileN, n1 - n), k_count, add || k0 > 0);
    }
    if (bias)
      for (size_t m = m0; m < m1; m++)
        num::for_each_pack(n1 - n0, [&](size_t n, size_t lanes) {
          float* to = c + m * N + n0 + n;
          (Pack::load(to, lanes) + Pack::load(bias + n0 + n, lanes)).store(to, lanes);
        });
  });
}

View weight_view(const float* weight, size_t C, size_t OC, WeightLayout layout) {
  return layout == WeightLayout::kInOut ? View{weight, OC, 1} : View{weight, 1, C};
}

View transposed(View v) { return {v.data, v.column, v.row}; }

}  // namespace

size_t matmul_scratch_floats() { return kBlockM * kBlockK + round_up(kBlockN, kTileN) * kBlockK; }

void matmul_forward(float* out, const float* inp, const float* weight, const float* bias, size_t BT, size_t C,
                    size_t OC, WeightLayout layout) {
  product(out, View{inp, C, 1}, weight_view(weight, C, OC, layout), bias, BT, OC, C, false);
}

void matmul_backward(float* dinp, float* dweight, float* dbias, const float* dout, const float* inp,
                     const float* weight, size_t BT, size_t C, size_t OC, WeightLayout layout) {
  View d{dout, OC, 1}, x{inp, C, 1};

  // dinp (BT,C) = dout (BT,OC) W^T
  if (dinp) product(dinp, d, transposed(weight_view(weight, C, OC, layout)), nullptr, BT, C, OC, false);

  // dW += inp^T dout, or its transpose
  if (layout == WeightLayout::kInOut)
    product(dweight, transposed(x), d, nullptr, C, OC, BT, true);
  else
    product(dweight, transposed(d), x, nullptr, OC, C, BT, true);

  // dbias: each job owns some columns
  if (dbias)
    parallel_blocks(OC, 2 * num::kPackWidth, [&](size_t begin, size_t end) {
      num::for_each_pack(end - begin, [&](size_t o, size_t lanes) {
        Pack sum = Pack::load(dbias + begin + o, lanes);
        for (size_t i = 0; i < BT; i++) sum += Pack::load(dout + i * OC + begin + o, lanes);
        sum.store(dbias + begin + o, lanes);
      });
    });
}

}  // namespace cpu
