// One blocked product serves the three products of a linear layer, in any precision; a transposed operand is a matter of
// strides.
//
//        K                    N
//      +---+          +---+---+---+---+
//    M | a | x      K | b | b | b | b |    1. A is read where it lies, eight rows at a time. bf16 rounds it first, with all
//      | a |          +---+---+---+---+       threads, into a copy of the same layout.
//      | a |                               2. A job is a block of the result: kBlockM rows of one panel of kColumns columns.
//      +---+          +---+---+---+---+       For each piece of kBlockK of k:
//                   M |job|job|job|job|         the panel of B is packed, unless it can be read as it lies;
//                     |job|job|job|job|         for each eight rows of A: one tile (micro_kernel.h).
//                     +---+---+---+---+
//
// The order of the additions depends on K alone, so neither threads nor blocks change a bit of the result.
//
// Why so little is packed: a tile reads eight rows of A from end to end and B row by row, three cache lines at a time, and
// L2 delivers that beside 24 multiply-adds, packed or not. What has to be packed is what would be read across: B where its
// rows lie along k, and B whose rows would all fall into the same set of the cache.
#include "kernels/matmul.h"

#include <algorithm>
#include <type_traits>

#include "kernels/cpu/micro_kernel.h"
#include "kernels/cpu/operand.h"
#include "kernels/cpu/pack.h"
#include "kernels/cpu/parallel.h"

namespace cpu {

namespace {

constexpr size_t W = num::kPackWidth;
constexpr size_t kRows = kMicroRows, kColumns = kMicroPacks * W;

// Panels of B of 384 words x 48 columns take 72 KiB and are read from L2 at a third of what it gives; shorter ones load and
// store C more often, longer ones gain nothing.
constexpr size_t kBlockK = 384;
// 512 rows of such a piece of A take 768 KiB of an L2 of 1 MiB. Fewer rows, down to kLeastM, where threads would idle: each
// job packs its panel of B for itself.
constexpr size_t kBlockM = 512, kLeastM = 64, kJobsPerThread = 4;
// The copy of A: 16 MiB, to stay in L3; one job of copying takes kCopiedRows.
constexpr size_t kMostPieces = 8, kCopiedA = size_t(4) << 20, kCopiedRows = 32;

// A matrix seen through strides: element (i, j) at data[i * row + j * column]. One of the strides is 1.
struct View {
  const float* data;
  size_t row, column;
  const float* at(size_t i, size_t j) const { return data + i * row + j * column; }
  View from(size_t i, size_t j) const { return {at(i, j), row, column}; }
  View transposed() const { return {data, column, row}; }
};

// Rows or columns so far apart share one set of the first cache, which holds few of them.
bool collides(size_t stride) { return stride * sizeof(float) % 4096 == 0; }

// Calls f(n), n a constant, with the number of packs that `columns` columns take, up to kMicroPacks.
template <class F>
void with_packs_for(size_t columns, F f) {
  static_assert(kMicroPacks == 3);
  if (columns > 2 * W)
    f(std::integral_constant<size_t, 3>());
  else if (columns > W)
    f(std::integral_constant<size_t, 2>());
  else
    f(std::integral_constant<size_t, 1>());
}

// Copies a block as words: calls store(i, k, pack) with the words k of neighbours i .. i + W - 1, for every W-th i below
// `count` and every word k. `from` is (neighbour, step); neighbours beyond count and steps beyond k_count are 0.
template <class P, class Store>
void words_across(View from, size_t count, size_t k_count, Store store) {
  using O = Operand<P>;
  for (size_t k = 0; k * O::kDepth < k_count; k++) {
    const size_t depth = std::min(O::kDepth, k_count - k * O::kDepth);
    const float* x = from.at(0, k * O::kDepth);
    size_t i = 0;
    if (depth == O::kDepth)
      for (; i + W <= count; i += W) store(i, k, O::across_k(x + i, from.column, O::kDepth, W));
    for (; i < count; i += W) store(i, k, O::across_k(x + i, from.column, depth, std::min(W, count - i)));
  }
}

// The same for a row at a time: store(k, pack) with words k .. k + W - 1.
template <class P, class Store>
void words_along(const float* x, size_t k_count, Store store) {
  using O = Operand<P>;
  constexpr size_t kSteps = W * O::kDepth;
  size_t step = 0;
  for (; step + kSteps <= k_count; step += kSteps) store(step / O::kDepth, O::along_k(x + step, kSteps));
  if (step < k_count) store(step / O::kDepth, O::along_k(x + step, k_count - step));
}

// Packs `count` columns of B and `k_count` steps of k into a panel of `packs` packs: word k of column i at to[k * packs *
// W + i]. `from` is (column, step). What lies beyond is filled with zeros.
template <class P, size_t packs>
void pack_panel(float* to, View from, size_t count, size_t k_count) {
  using O = Operand<P>;
  constexpr size_t kWidth = packs * W, kSteps = W * O::kDepth;
  if (from.row == 1)
    return words_across<P>(from, count, k_count, [&](size_t i, size_t k, Pack x) { x.store(to + k * kWidth + i); });
  for (size_t i = 0; i < kWidth; i += W) {
    Pack x[W];
    size_t step = 0;
    auto store = [&](size_t words) {
      num::transpose(x);
      for (size_t w = 0; w < words; w++) x[w].store(to + (step / O::kDepth + w) * kWidth + i);
    };
    if (i + W <= count)
      for (; step + kSteps <= k_count; step += kSteps) {
#pragma GCC unroll 16
        for (size_t r = 0; r < W; r++) x[r] = O::along_k(from.at(i + r, step), kSteps);
        store(W);
      }
    for (; step < k_count; step += kSteps) {
      const size_t steps = std::min(kSteps, k_count - step);
      for (size_t r = 0; r < W; r++) x[r] = i + r < count ? O::along_k(from.at(i + r, step), steps) : Pack(0);
      store(divide_up(steps, O::kDepth));
    }
  }
}

// Asks for the cache lines of a block that is wanted soon: some of them at each call, all of them in `calls`. The
// processor foresees rows that it reads from end to end, not the next of many short ones.
class Prefetch {
 public:
  // block: (neighbour, step), as packed panels are made from.
  Prefetch(View block, size_t neighbours, size_t steps, size_t calls) : at_(block.data) {
    const bool across = block.row == 1;
    pitch_ = across ? block.column : block.row;
    rows_ = across ? steps : neighbours;
    lines_ = divide_up(across ? neighbours : steps, kCacheLine);
    each_ = divide_up(rows_ * lines_, calls);
  }

  void operator()() {
    for (size_t i = 0; i < each_ && rows_ > 0; i++) {
      __builtin_prefetch(at_ + line_ * kCacheLine);
      if (++line_ < lines_) continue;
      line_ = 0;
      rows_--;
      at_ += pitch_;
    }
  }

 private:
  static constexpr size_t kCacheLine = 64 / sizeof(float);
  const float* at_;
  size_t pitch_, rows_, lines_, each_, line_ = 0;
};

// One tile of C = from + A B; `from` is C itself, one row for all, or nothing. A and B count in words. Where C ends inside
// the tile, it is computed beside C.
template <class P, int NV, class Meanwhile>
void tile(float* c, size_t c_row, View from, View a, View b, size_t rows, size_t columns, size_t words,
          Meanwhile meanwhile) {
  constexpr size_t kWidth = NV * W;
  // The tile is wanted when k has run, and lies in as many pages as it has rows: ask for it now.
#pragma GCC unroll 16
  for (size_t r = 0; r < kRows; r++)
#pragma GCC unroll 4
    for (size_t j = 0; j < kWidth; j += W) __builtin_prefetch(c + r * c_row + j, 1);
  auto compute = [&](float* to, size_t to_row, View start, auto offset) {
    micro_kernel<P, kRows, NV>(to, to_row, start.data, start.row, a.data, offset, b.data, b.row, words, meanwhile);
  };
  if (rows == kRows && columns == kWidth && a.row == 1)
    return compute(c, c_row, from, [s = a.column](size_t r, size_t k) { return r + k * s; });
  if (rows == kRows && columns == kWidth)
    return compute(c, c_row, from, [s = a.row](size_t r, size_t k) { return r * s + k; });
  alignas(64) float edge[kRows * kWidth];
  compute(edge, kWidth, View{nullptr, 0, 1},
          [a, last = rows - 1](size_t r, size_t k) { return std::min(r, last) * a.row + k * a.column; });
  for (size_t r = 0; r < rows; r++)
    for (size_t j = 0; j < columns; j++) c[r * c_row + j] = (from.data ? *from.at(r, j) : 0.0f) + edge[r * kWidth + j];
}

// sums[j] += the sum of column j of `block` (column, k), whose columns lie side by side.
void add_columns(float* sums, View block, size_t columns, size_t k_count) {
  num::for_each_pack(columns, [&](size_t j, size_t lanes) {
    Pack sum = Pack::load(sums + j, lanes);
    for (size_t k = 0; k < k_count; k++) sum += Pack::load(block.at(j, k), lanes);
    sum.store(sums + j, lanes);
  });
}

// Rows so long that no two of their words collide.
size_t pitch_of(size_t length) { return round_up(length, W) + W; }
size_t copied_words(size_t rows, size_t words) { return std::max(rows * pitch_of(words), words * pitch_of(rows)); }

// Whether A cannot be read as it lies: its numbers are to be rounded, or its columns collide.
template <class P>
bool is_copied(View a) {
  return !std::is_same_v<P, fp32> || (a.row == 1 && collides(a.column));
}

// How much of A (M,K) is copied at a time: all of it, unless that is too large.
struct Part {
  size_t rows, steps;
};
template <class P>
Part copied_part(size_t M, size_t K) {
  constexpr size_t kDepth = Operand<P>::kDepth, kPiece = kBlockK * kDepth;
  const size_t steps = std::min(round_up(K, kPiece), kMostPieces * kPiece);
  return {std::min(round_up(M, kRows), kCopiedA / (steps / kDepth) / kRows * kRows), steps};
}
template <class P>
size_t copied_floats(size_t M, size_t K) {
  const auto [rows, steps] = copied_part<P>(M, K);
  return copied_words(rows, steps / Operand<P>::kDepth);
}

// A part of A as words, (rows, words). If it is a copy, all threads make it.
template <class P>
View words_of(View a, size_t rows, size_t steps, float* memory) {
  constexpr size_t kDepth = Operand<P>::kDepth;
  if (!is_copied<P>(a)) return a;
  const size_t words = divide_up(steps, kDepth);
  if (a.row == 1) {
    const size_t pitch = pitch_of(rows);
    parallel_blocks(words, kCopiedRows, [&](size_t begin, size_t end) {
      words_across<P>(a.from(0, begin * kDepth), rows, std::min(end * kDepth, steps) - begin * kDepth,
                      [&](size_t i, size_t k, Pack x) { x.store(memory + (begin + k) * pitch + i); });
    });
    return {memory, 1, pitch};
  }
  const size_t pitch = pitch_of(words);
  parallel_blocks(rows, kCopiedRows, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++)
      words_along<P>(a.at(i, 0), steps, [&](size_t k, Pack x) { x.store(memory + i * pitch + k); });
  });
  return {memory, pitch, 1};
}

// The part of a product at hand: rows x N of C += words (rows, steps) of A times b (steps, N).
template <class P>
struct PartialProduct {
  float* c;
  View a, b;          // a in words
  const float* bias;  // added where c starts from nothing; or null
  float* column_sums;
  bool add;     // to what c holds
  bool copied;  // a is a copy, just made
  size_t rows, N, steps;

  static constexpr size_t kDepth = Operand<P>::kDepth, kPiece = kBlockK * kDepth;

  void run() const {
    const size_t panels = divide_up(N, kColumns);
    size_t blocks = divide_up(rows, kBlockM);
    while (blocks * panels < kJobsPerThread * max_threads() && rows > blocks * kLeastM) blocks *= 2;
    const size_t block_m = round_up(divide_up(rows, blocks), kRows);
    parallel_jobs(divide_up(rows, block_m) * panels, [&](size_t job) {
      const size_t m0 = job / panels * block_m, m1 = std::min(rows, m0 + block_m);
      for (size_t k = 0; k < steps; k += kPiece) multiply(m0, m1, job % panels, k);
    });
  }

  // One piece of k for rows m0 .. m1 - 1 of a panel of C.
  void multiply(size_t m0, size_t m1, size_t panel, size_t k) const {
    const size_t n = panel * kColumns, columns = std::min(kColumns, N - n), k_count = std::min(kPiece, steps - k);
    const View block = b.from(k, n).transposed();  // (column, step)
    if (column_sums && m0 == 0) add_columns(column_sums + n, block, columns, k_count);

    const size_t calls = divide_up(m1 - m0, kRows) * divide_up(k_count, kMeanwhile * kDepth);
    Prefetch next_b = after_b(n, k, calls), next_a = after_a(m0, m1, panel, k, calls);
    auto prefetch = [&] {
      next_b();
      next_a();
    };
    with_packs_for(columns, [&](auto packs) {
      float* packed = scratch(matmul_scratch_floats());
      const bool as_it_lies =
          std::is_same_v<P, fp32> && block.row == 1 && columns == packs * W && !collides(block.column);
      if (!as_it_lies) pack_panel<P, packs>(packed, block, columns, k_count);
      const View rows_of_b = as_it_lies ? block.transposed() : View{packed, packs * W, 1};
      for (size_t m = m0; m < m1; m += kRows) {
        float* to = c + m * N + n;
        const View from = add || k > 0 ? View{to, N, 1} : View{bias ? bias + n : nullptr, 0, 1};
        tile<P, packs>(to, N, from, a.from(m, k / kDepth), rows_of_b, std::min(kRows, m1 - m), columns,
                       divide_up(k_count, kDepth), prefetch);
      }
    });
  }

  // What is read of B after piece k of the panel at n: the next piece, in the end the first piece of the next panel.
  Prefetch after_b(size_t n, size_t k, size_t calls) const {
    const bool last = k + kPiece >= steps;
    const size_t next_k = last ? 0 : k + kPiece, next_n = last && n + kColumns < N ? n + kColumns : n;
    return Prefetch(b.from(next_k, next_n).transposed(), std::min(kColumns, N - next_n),
                    std::min(kPiece, steps - next_k), calls);
  }

  // The same of A: the next piece, in the end the next rows, which the jobs of all panels share out among them. Nothing
  // of a copy, which is in the cache, nor of a next piece whose rows lie along k: those the processor foresees.
  Prefetch after_a(size_t m0, size_t m1, size_t panel, size_t k, size_t calls) const {
    const bool last = k + kPiece >= steps;
    const size_t share = round_up(divide_up(m1 - m0, divide_up(N, kColumns)), W);
    const size_t begin = last ? std::min(rows, m1 + panel * share) : m0;
    const size_t end = last ? std::min({rows, m1 + (m1 - m0), begin + share}) : m1;
    const bool wanted = !copied && (last || a.row == 1) && begin < end;
    const size_t next_k = last ? 0 : k + kPiece;
    return Prefetch(a.from(begin, next_k / kDepth), wanted ? end - begin : 0, std::min(kPiece, steps - next_k), calls);
  }
};

// C (M,N), row by row, = A (M,K) B (K,N) + bias (N), or += A B. bias may be null.
// column_sums (N), unless null: += the sums of B's columns.
template <class P>
void product(float* c, View a, View b, const float* bias, float* column_sums, size_t M, size_t N, size_t K, bool add) {
  const bool copied = is_copied<P>(a);
  const Part most = copied ? copied_part<P>(M, K) : Part{M, K};
  float* memory = copied ? shared_scratch(copied_floats<P>(M, K)) : nullptr;

  for (size_t m = 0; m < M; m += most.rows)
    for (size_t k = 0; k < K; k += most.steps) {
      const size_t rows = std::min(most.rows, M - m), steps = std::min(most.steps, K - k);
      const View words = words_of<P>(a.from(m, k), rows, steps, memory);
      PartialProduct<P>{c + m * N,    words,  b.from(k, 0), bias, m == 0 ? column_sums : nullptr,
                        add || k > 0, copied, rows,         N,    steps}
          .run();
    }
}

// The weight as a view (C,OC).
View weight_view(const float* weight, size_t C, size_t OC, WeightLayout layout) {
  return layout == WeightLayout::kInOut ? View{weight, OC, 1} : View{weight, 1, C};
}

}  // namespace

size_t matmul_scratch_floats() { return kBlockK * kColumns; }

size_t matmul_shared_floats(size_t BT, size_t C, size_t OC) {
  size_t most = std::max({copied_floats<bf16>(BT, C), copied_floats<bf16>(BT, OC), copied_floats<bf16>(C, BT),
                          copied_floats<bf16>(OC, BT)});
  for (size_t rows : {C, OC})
    if (collides(rows)) most = std::max(most, copied_floats<fp32>(rows, BT));
  return most;
}

template <class P>
void matmul_forward(float* out, const float* inp, const float* weight, const float* bias, size_t BT, size_t C,
                    size_t OC, WeightLayout layout) {
  product<P>(out, View{inp, C, 1}, weight_view(weight, C, OC, layout), bias, nullptr, BT, OC, C, false);
}

template <class P>
void matmul_backward(float* dinp, float* dweight, float* dbias, const float* dout, const float* inp,
                     const float* weight, size_t BT, size_t C, size_t OC, WeightLayout layout) {
  const View d{dout, OC, 1}, x{inp, C, 1};

  // dinp (BT,C) = dout (BT,OC) W^T
  if (dinp) product<P>(dinp, d, weight_view(weight, C, OC, layout).transposed(), nullptr, nullptr, BT, C, OC, false);

  // dW += inp^T dout, or its transpose; dbias += column sums of dout, which passes by
  if (dweight && layout == WeightLayout::kInOut)
    product<P>(dweight, x.transposed(), d, nullptr, dbias, C, OC, BT, true);
  else if (dweight)
    product<P>(dweight, d.transposed(), x, nullptr, nullptr, OC, C, BT, true);
  if (dbias && !(dweight && layout == WeightLayout::kInOut))
    parallel_blocks(OC, kColumns, [&](size_t begin, size_t end) {
      add_columns(dbias + begin, d.transposed().from(begin, 0), end - begin, BT);
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
