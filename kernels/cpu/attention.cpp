// Compiled once for each normalizer. The forward's jobs are blocks of kQueries queries of one head of one sequence; the
// backward's are whole heads, because all blocks of a head add to the same dk and dv. Scores are held as
// keys x queries, so that a SIMD lane is a query: the normalizer sums over keys without ever summing over lanes, a
// masked key is a lane that is not selected, and the same array is an operand of the next product as it stands.
//
//              queries i0 .. i0 + kQueries - 1 (lanes)
//            +-----------------------+
//   keys j   |  all lanes see key j  |    j <= i0
//            |                       |
//            +-----------------------+
//            |\    lanes with t >= j |    the diagonal: i0 < j < i0 + kQueries
//            | \---------------------|    (each pack of lanes has its own, smaller triangle)
//            +-----------------------+
#include "kernels/attention.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "kernels/cpu/attention_block.h"
#include "kernels/cpu/pack.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/tile.h"
#include "kernels/normalizer/normalizer.h"

namespace cpu {

using num::Pack;

namespace {

constexpr size_t W = num::kPackWidth;
constexpr int kRows = num::kPackWidth == 16 ? 8 : 4;  // with two packs, the tile of every product here

// C (M, N) = (or +=) A (M,K) B (K,N), N a multiple of W; A through strides as in tile.h.
void product(float* c, size_t c_row, const float* a, size_t a_row, size_t a_k, const float* b, size_t b_row, size_t M,
             size_t N, size_t K, bool add) {
  auto columns = [&](auto packs, size_t n) {
    size_t m = 0;
    for (; m + kRows <= M; m += kRows)
      tile<kRows, packs>(c + m * c_row + n, c_row, a + m * a_row, a_row, a_k, b + n, b_row, K, add);
    for (; m < M; m++) tile<1, packs>(c + m * c_row + n, c_row, a + m * a_row, a_row, a_k, b + n, b_row, K, add);
  };
  size_t n = 0;
  for (; n + 2 * W <= N; n += 2 * W) columns(Pass<2>(), n);
  for (; n < N; n += W) columns(Pass<1>(), n);
}

// One head of one sequence, and one block of its queries.
struct Block {
  size_t T, HS, stride;  // stride: from one position to the next in qkv, 3C
  const float *q, *k, *v;
  float slope;      // ALiBi's
  size_t i0, keys;  // first query; keys that some query of the block may see: 0 .. keys - 1

  size_t queries() const { return std::min(kQueries, T - i0); }
};

// to (HS, kQueries) = scale * rows i0 .. of `from`, transposed; queries beyond T are 0.
void transpose_queries(float* to, const float* from, size_t stride, float scale, const Block& block) {
  for (size_t i = 0; i < kQueries; i++)
    for (size_t d = 0; d < block.HS; d++)
      to[d * kQueries + i] = i < block.queries() ? scale * from[(block.i0 + i) * stride + d] : 0;
}

// scores (keys, kQueries): z_j = <q, k_j> / sqrt(HS) - slope (t - j). `queries` (HS, kQueries) is scratch memory.
void compute_scores(float* scores, float* queries, const Block& block) {
  transpose_queries(queries, block.q, block.stride, 1 / __builtin_sqrtf(float(block.HS)), block);
  product(scores, kQueries, block.k, block.stride, 1, queries, kQueries, block.keys, kQueries, block.HS, false);
  if (block.slope == 0) return;
  for (size_t p = 0; p < kPacks; p++) {
    Pack t = Pack::iota() + Pack(float(block.i0 + p * W));
    for (size_t j = 0; j < block.keys; j++) {
      float* z = scores + j * kQueries + p * W;
      (Pack::load(z) - Pack(block.slope) * (t - Pack(float(j)))).store(z);
    }
  }
}

// Row and Back consist of packs alone: both are arrays of words.
template <class State>
constexpr size_t words = sizeof(State) / sizeof(Pack);

template <class State>
State select_words(Pack::Mask mask, const State& a, const State& b) {
  static_assert(sizeof(State) % sizeof(Pack) == 0);
  State result;
  for (size_t w = 0; w < words<State>; w++)
    reinterpret_cast<Pack*>(&result)[w] =
        num::select(mask, reinterpret_cast<const Pack*>(&a)[w], reinterpret_cast<const Pack*>(&b)[w]);
  return result;
}

// Calls visible(j) for the keys that every lane of a pack sees, whose first query is t0; then diagonal(j, mask) for
// those that only the lanes in mask see; then hidden(j) for the rest of the block's keys.
template <class Visible, class Diagonal, class Hidden>
inline void sweep_keys(size_t t0, size_t keys, Visible visible, Diagonal diagonal, Hidden hidden) {
  const Pack t = Pack::iota() + Pack(float(t0));
  size_t j = 0;
  for (const size_t end = std::min(keys, t0 + 1); j < end; j++) visible(j);
  for (const size_t end = std::min(keys, t0 + W); j < end; j++) diagonal(j, t >= Pack(float(j)));
  for (; j < keys; j++) hidden(j);
}

// Where word w of the rows of queries t0 .. t0 + W - 1 is saved: each word is contiguous over the queries of a head.
template <class N>
size_t row_offset(size_t head, size_t T, size_t t0, size_t w) {
  return (head * kRowWords<N> + w) * round_up(T, kQueries) + t0;
}

// Learned scalars of one head, the same in every lane.
template <class N>
struct Theta {
  Pack lanes[N::params + 1];
  Theta(const float* theta, size_t h, size_t NH) {
    for (int i = 0; i < N::params; i++) lanes[i] = Pack(theta[i * NH + h]);
  }
};

Block block_of(const float* qkv, const float* slopes, size_t b, size_t h, size_t i0, size_t T, size_t C, size_t NH) {
  const size_t HS = C / NH;
  const float* q = qkv + b * T * 3 * C + h * HS;
  return {T, HS, 3 * C, q, q + C, q + 2 * C, slopes ? slopes[h] : 0, i0, std::min(T, i0 + kQueries)};
}

}  // namespace

template <class N>
void attention_forward(float* out, float* rows, const float* qkv, const float* theta, const float* slopes, size_t B,
                       size_t T, size_t C, size_t NH) {
  using Row = typename N::template Row<Pack>;
  const size_t blocks = divide_up(T, kQueries);
  parallel_jobs(B * NH * blocks, [&](size_t job) {
    const size_t head = job % (B * NH), b = head / NH, h = head % NH;
    const size_t i0 = (blocks - 1 - job / (B * NH)) * kQueries;  // the longest rows first
    const Block block = block_of(qkv, slopes, b, h, i0, T, C, NH);
    const Theta<N> scalars(theta, h, NH);
    float* scores = scratch(attention_scratch_floats(T, block.HS));  // (keys, kQueries)
    float* queries = scores + T * kQueries;                          // (HS, kQueries), later the output
    Pack scale[kPacks];

    // 1. scores
    compute_scores(scores, queries, block);

    // 2. weights before scaling, over the scores
    for (size_t p = 0; p < kPacks; p++) {
      const size_t t0 = i0 + p * W;
      auto z = [&](size_t j) { return scores + j * kQueries + p * W; };
      Row row = N::template begin<Pack>(Pack::iota() + Pack(float(t0 + 1)), scalars.lanes);
      for_each_pass<N::passes>([&](auto pass) {
        constexpr bool last = pass == N::passes - 1;
        sweep_keys(
            t0, block.keys,
            [&](size_t j) {
              Pack weight = N::add(row, Pack::load(z(j)), Pack(float(j)), pass);
              if constexpr (last) weight.store(z(j));
            },
            [&](size_t j, Pack::Mask mask) {
              Row with = row;
              Pack weight = N::add(with, Pack::load(z(j)), Pack(float(j)), pass);
              row = select_words(mask, with, row);
              if constexpr (last) num::select(mask, weight, Pack(0)).store(z(j));
            },
            [&](size_t j) {
              if constexpr (last) Pack(0).store(z(j));
            });
        N::end(row, pass);
      });
      scale[p] = N::scale(row);
      for (size_t w = 0; w < words<Row>; w++)
        reinterpret_cast<Pack*>(&row)[w].store(rows + row_offset<N>(head, T, t0, w));
    }

    // 3. output = scale * sum_j weight_j v_j
    product(queries, kQueries, block.v, 1, block.stride, scores, kQueries, block.HS, kQueries, block.keys, false);
    for (size_t i = 0; i < block.queries(); i++)
      for (size_t d = 0; d < block.HS; d++)
        out[(b * T + i0 + i) * C + h * block.HS + d] = queries[d * kQueries + i] * scale[i / W].v[i % W];
  });
}

template <class N>
void attention_backward(float* dqkv, float* dtheta, const float* dout, const float* out, const float* rows,
                        const float* qkv, const float* theta, const float* slopes, size_t B, size_t T, size_t C,
                        size_t NH) {
  using Row = typename N::template Row<Pack>;
  using Back = typename N::template Back<Pack>;
  const size_t HS = C / NH, HSP = round_up(HS, W);  // rows of HS numbers, padded to whole packs
  const float inverse_root = 1 / __builtin_sqrtf(float(HS));
  std::vector<double> dscalars(B * NH * N::params);

  parallel_jobs(B * NH, [&](size_t head) {
    const size_t b = head / NH, h = head % NH;
    const Theta<N> scalars(theta, h, NH);
    float* memory = scratch(attention_scratch_floats(T, HS));
    auto take = [&](size_t floats) { return std::exchange(memory, memory + floats); };
    float* scores = take(T * kQueries);     // (keys, kQueries) z, then the weights where one pass suffices
    float* gradients = take(T * kQueries);  // (keys, kQueries) g, then dz
    float* weights = N::back_passes == 1 ? scores : take(T * kQueries);
    float* dk = take(T * HSP);               // (T, HSP)
    float* dv = take(T * HSP);               // (T, HSP)
    float* transpose = take(HS * kQueries);  // (HS, kQueries) q, dout, then dq
    float* q_rows = take(kQueries * HSP);    // (kQueries, HSP) q / sqrt(HS)
    float* dout_rows = take(kQueries * HSP);
    std::fill(dk, transpose, 0.0f);
    std::fill(q_rows, memory, 0.0f);
    const float* dout_h = dout + b * T * C + h * HS;
    const float* out_h = out + b * T * C + h * HS;
    float* dq = dqkv + b * T * 3 * C + h * HS;

    for (size_t i0 = 0; i0 < T; i0 += kQueries) {
      const Block block = block_of(qkv, slopes, b, h, i0, T, C, NH);

      // The block's rows of q and dout; dot = <dout, out>. Queries beyond T have dout = 0 and so leave no trace.
      float dot[kQueries] = {};
      for (size_t i = 0; i < kQueries; i++)
        for (size_t d = 0; d < HS; d++) {
          const size_t t = i0 + i;
          const bool inside = t < T;
          q_rows[i * HSP + d] = inside ? inverse_root * block.q[t * block.stride + d] : 0;
          dout_rows[i * HSP + d] = inside ? dout_h[t * C + d] : 0;
          if (inside) dot[i] += dout_h[t * C + d] * out_h[t * C + d];
        }

      // 3. g_j = <dout, v_j>
      transpose_queries(transpose, dout_h, C, 1, block);
      product(gradients, kQueries, block.v, block.stride, 1, transpose, kQueries, block.keys, kQueries, HS, false);

      // 1. the scores again
      compute_scores(scores, transpose, block);

      // 2. weights again, and g becomes dz
      for (size_t p = 0; p < kPacks; p++) {
        const size_t t0 = i0 + p * W;
        auto at = [&](float* array, size_t j) { return array + j * kQueries + p * W; };
        const Pack n = Pack::iota() + Pack(float(t0 + 1));
        Row row;
        for (size_t w = 0; w < words<Row>; w++)
          reinterpret_cast<Pack*>(&row)[w] = Pack::load(rows + row_offset<N>(head, T, t0, w));
        Back back = N::back_begin(row, Pack::load(dot + p * W));
        for_each_pass<N::back_passes>([&](auto pass) {
          auto add = [&](Back& to, size_t j) {
            return N::back_add(row, to, Pack::load(at(scores, j)), Pack(float(j)), Pack::load(at(gradients, j)), pass);
          };
          auto weight_of = [&](size_t j) { return weight<N>(row, Pack::load(at(scores, j)), Pack(float(j))); };
          sweep_keys(
              t0, block.keys,
              [&](size_t j) {
                Pack g = add(back, j);
                if constexpr (pass == 0) weight_of(j).store(at(weights, j));
                g.store(at(gradients, j));
              },
              [&](size_t j, Pack::Mask mask) {
                Back with = back;
                Pack g = add(with, j);
                back = select_words(mask, with, back);
                if constexpr (pass == 0) num::select(mask, weight_of(j), Pack(0)).store(at(weights, j));
                num::select(mask, g, Pack(0)).store(at(gradients, j));
              },
              [&](size_t j) {
                if constexpr (pass == 0) Pack(0).store(at(weights, j));
                Pack(0).store(at(gradients, j));
              });
        });
        if constexpr (N::params > 0) {
          Pack d[N::params];
          N::dparam(back, n, d);
          for (int i = 0; i < N::params; i++) dscalars[head * N::params + i] += d[i].sum();
        }
      }

      // 3. dv_j += sum_i a_ij dout_i
      product(dv, HSP, weights, kQueries, 1, dout_rows, HSP, block.keys, HSP, kQueries, true);

      // 1. dk_j += sum_i dz_ij q_i / sqrt(HS),  dq_i = sum_j dz_ij k_j / sqrt(HS)
      product(dk, HSP, gradients, kQueries, 1, q_rows, HSP, block.keys, HSP, kQueries, true);
      product(transpose, kQueries, block.k, 1, block.stride, gradients, kQueries, HS, kQueries, block.keys, false);
      for (size_t i = 0; i < block.queries(); i++)
        for (size_t d = 0; d < HS; d++) dq[(i0 + i) * 3 * C + d] = inverse_root * transpose[d * kQueries + i];
    }
    for (size_t t = 0; t < T; t++)
      for (size_t d = 0; d < HS; d++) {
        dq[t * 3 * C + C + d] = dk[t * HSP + d];
        dq[t * 3 * C + 2 * C + d] = dv[t * HSP + d];
      }
  });

  for (int i = 0; i < N::params; i++)
    for (size_t h = 0; h < NH; h++) {
      double sum = 0;
      for (size_t b = 0; b < B; b++) sum += dscalars[(b * NH + h) * N::params + i];
      dtheta[i * NH + h] += float(sum);
    }
}

template void attention_forward<SelectedNormalizer>(float*, float*, const float*, const float*, const float*, size_t,
                                                    size_t, size_t, size_t);
template void attention_backward<SelectedNormalizer>(float*, float*, const float*, const float*, const float*,
                                                     const float*, const float*, const float*, size_t, size_t, size_t,
                                                     size_t);

}  // namespace cpu
