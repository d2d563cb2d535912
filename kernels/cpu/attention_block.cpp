#include "kernels/cpu/attention_block.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/attention.h"
#include "kernels/cpu/micro_kernel.h"

namespace cpu {

using num::Pack;

namespace {

constexpr size_t W = num::kPackWidth;

template <bool transposed>
inline void multiply(float* c, size_t c_row, const float* a, size_t a_row, const float* b, size_t b_row, size_t M,
                     size_t N, size_t K, bool add, Ahead& ahead) {
  size_t n = 0;
  auto columns = [&]<int packs>(std::integral_constant<int, packs>) {
    for (size_t m = 0; m < M; m += kMicroRows) {
      float* to = c + m * c_row + n;
      auto offset = [=](size_t r, size_t k) { return transposed ? r + k * a_row : r * a_row + k; };
      micro_kernel<fp32, kMicroRows, packs>(to, c_row, add ? to : nullptr, c_row, a + (transposed ? m : m * a_row),
                                            offset, b + n, b_row, K, [&] { ahead.fetch(); });
    }
    n += packs * W;
  };
  if (N / W % 2 == 1 && N > W) columns(std::integral_constant<int, 3>());
  while (n + 2 * W <= N) columns(std::integral_constant<int, 2>());
  if (n < N) columns(std::integral_constant<int, 1>());
}

// The lanes d .. of a row of HS numbers; 0 beyond.
inline Pack load_part(const float* row, size_t d, size_t HS) {
  return d + W <= HS ? Pack::load(row + d) : Pack::load(row + d, HS - d);
}

}  // namespace

void product(float* c, size_t c_row, const float* a, size_t a_row, const float* b, size_t b_row, size_t M, size_t N,
             size_t K, bool add, Ahead& ahead) {
  multiply<false>(c, c_row, a, a_row, b, b_row, M, N, K, add, ahead);
}

void product_transposed(float* c, size_t c_row, const float* a, size_t a_row, const float* b, size_t b_row, size_t M,
                        size_t N, size_t K, bool add, Ahead& ahead) {
  multiply<true>(c, c_row, a, a_row, b, b_row, M, N, K, add, ahead);
}

void copy_rows(float* to, const float* from, size_t stride, size_t n, size_t HS) {
  const size_t HSP = padded(HS);
  for (size_t i = 0; i < n; i++)
    for (size_t d = 0; d < HSP; d += W) load_part(from + i * stride, d, HS).store(to + i * HSP + d);
  std::fill(to + n * HSP, to + round_up(n, kStep) * HSP, 0.0f);
}

void load_queries(float* columns, float* rows, const float* from, size_t stride, float scale, size_t n, size_t HS) {
  const size_t HSP = padded(HS);
  for (size_t i = 0; i < round_up(n, kStep); i += W)
    for (size_t d = 0; d < HSP; d += W) {
      Pack x[W];
      for (size_t r = 0; r < W; r++) {
        x[r] = i + r < n ? Pack(scale) * load_part(from + (i + r) * stride, d, HS) : Pack(0);
        if (rows) x[r].store(rows + (i + r) * HSP + d);
      }
      num::transpose(x);
      for (size_t r = 0; r < W; r++) x[r].store(columns + (d + r) * kQueries + i);
    }
}

void store_rows(float* to, size_t stride, const float* from, const float* scale, size_t n, size_t HS) {
  const size_t HSP = padded(HS);
  for (size_t i = 0; i < n; i++)
    for (size_t d = 0; d < HSP; d += W) {
      const Pack x = Pack(scale[i]) * Pack::load(from + i * HSP + d);
      if (d + W <= HS)
        x.store(to + i * stride + d);
      else
        x.store(to + i * stride + d, HS - d);
    }
}

void row_dots(float* dots, const float* a, const float* b, size_t stride, size_t n, size_t HS) {
  for (size_t i = 0; i < n; i += W) {
    Pack x[W];  // lane d of x[r]: the terms d, d + W, ... of row i + r
    for (size_t r = 0; r < W; r++) {
      x[r] = Pack(0);
      if (i + r >= n) continue;
      for (size_t d = 0; d < HS; d += W)
        x[r] = num::fma(load_part(a + (i + r) * stride, d, HS), load_part(b + (i + r) * stride, d, HS), x[r]);
    }
    num::transpose(x);
    for (size_t r = 1; r < W; r++) x[0] += x[r];
    x[0].store(dots + i);
  }
}

// ---- Sharing the work, and the memory it takes ----------------------------------------------------------------------

// 32 jobs keep up to 32 cores at work; each further part costs another copy of k and v and another sum of dk and dv.
// The work up to a query grows with its square. At least one block is left for each part.
Split::Split(size_t B, size_t T, size_t NH) : begin(), rows_before() {
  const size_t blocks = divide_up(T, kQueries);
  parts = std::min(blocks, divide_up(kMaxParts, B * NH));
  for (size_t p = 1; p <= parts; p++) {
    const double equal = double(blocks) * std::sqrt(double(p) / double(parts));
    begin[p] = std::min(T, std::min(size_t(std::lround(equal)), blocks - (parts - p)) * kQueries);
    rows_before[p] = rows_before[p - 1] + round_up(begin[p], kStep);
  }
}

void add_parts(float* dqkv, const float* partials, const Split& split, size_t B, size_t T, size_t C, size_t NH) {
  const size_t HS = C / NH, HSP = padded(HS);
  parallel_blocks(B * NH * T, kKeys, [&](size_t begin, size_t end) {
    for (size_t row = begin; row < end; row++) {
      const size_t head = row / T, b = head / NH, h = head % NH, t = row % T;
      float* dk = dqkv + (b * T + t) * 3 * C + C + h * HS;
      float* dv = dk + C;
      size_t part = 0;
      while (split.begin[part + 1] <= t) part++;  // the parts before see none of key t
      for (size_t p = part; p < split.parts; p++) {
        const float* more_dk = partials + split.dk_offset(head, p, HSP) + t * HSP;
        const float* more_dv = partials + split.dv_offset(head, p, HSP) + t * HSP;
        for (size_t d = 0; d < HS; d++) dk[d] = p == part ? more_dk[d] : dk[d] + more_dk[d];
        for (size_t d = 0; d < HS; d++) dv[d] = p == part ? more_dv[d] : dv[d] + more_dv[d];
      }
    }
  });
}

size_t attention_row_floats(size_t words, size_t B, size_t T, size_t NH) { return B * NH * words * round_up(T, kStep); }

// See Scratch in attention.cpp.
size_t attention_scratch_floats(size_t T, size_t HS) {
  const size_t keys = round_up(T, kStep), HSP = padded(HS);
  return keys * (4 * HSP + 2 * kQueries) + 5 * kQueries * HSP + kKeys * kQueries;
}

size_t attention_shared_floats(size_t B, size_t T, size_t NH, size_t HS, bool length_scale) {
  const Split split(B, T, NH);
  return split.partial_floats(B * NH, padded(HS)) + (length_scale ? B * NH * T : 0);
}

}  // namespace cpu
