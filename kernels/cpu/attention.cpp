// Compiled once for each normalizer. A job is some blocks of queries of one head of one sequence: all of them where
// there are many heads, else a part (Split). Scores are held as keys x queries, so that a SIMD lane is a query: the
// normalizer sums over keys without ever summing over lanes, a masked key is a lane that is not selected, and the same
// array is an operand of the next product as it stands.
//
//              queries i0 .. i0 + 63 (lanes)
//            +-------------------------------+
//   64 keys  |  chunk: all lanes see all     |   Each sweep of the normalizer goes through the chunks in turn; the
//            +-------------------------------+   first one computes a chunk's scores, the last one uses its weights,
//   64 keys  |  chunk                        |   all while the chunk is in the L1 cache. Between sweeps, where there
//            +-------------------------------+   is more than one, the scores are kept (T x 64 numbers).
//   16 keys  |\      |       |       |       |
//            +-------+-------+-------+-------+   The diagonal, in steps of 16 keys: the queries left of a step see none
//   16 keys          |\      |       |       |   of its keys and are left out, those right of it see all, and in the
//                    +-------+-------+-------+   square between, query t sees the keys j <= t.
//   16 keys                  |\      |       |
//                            +-------+-------+
//   16 keys                          |\      |
//                                    +-------+
#include "kernels/attention.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "kernels/cpu/attention_block.h"
#include "kernels/cpu/pack.h"
#include "kernels/cpu/parallel.h"
#include "kernels/normalizer/normalizer.h"

namespace cpu {

using num::Pack;

namespace {

constexpr size_t W = num::kPackWidth;

// One head of one sequence.
struct Head {
  size_t index, b, h, T, C, HS, HSP;  // index: b NH + h; HSP: HS padded to whole packs
  const float* q;                     // query t is at q + t * 3 * C, k and v lie C and 2 C beyond
  float slope;                        // ALiBi's
  float inverse_root;                 // 1 / sqrt(HS)

  Head(size_t index, const float* qkv, const float* slopes, size_t T, size_t C, size_t NH)
      : index(index),
        b(index / NH),
        h(index % NH),
        T(T),
        C(C),
        HS(C / NH),
        HSP(padded(HS)),
        q(qkv + b * T * 3 * C + h * HS),
        slope(slopes ? slopes[h] : 0),
        inverse_root(1 / __builtin_sqrtf(float(HS))) {}

  // Where query t is in out and dout.
  size_t at(size_t t) const { return (b * T + t) * C + h * HS; }
};

// What one thread works in; attention_scratch_floats is its size. Rounded up: keys to kStep, HS to packs.
struct Scratch {
  float *k, *v;                     // (keys, HS)
  float *dk, *dv;                   // (keys, HS)
  float *scores, *gradients;        // (keys, kQueries) z, and g, then dz; or a chunk of both
  float* weights;                   // (kKeys, kQueries) of a chunk
  float *q_columns, *dout_columns;  // (HS, kQueries) q / sqrt(HS); dout
  float *q_rows, *dout_rows;        // (kQueries, HS) the same
  float* sums;                      // (kQueries, HS) the output or dq

  Ahead ahead;

  Scratch(size_t T, size_t HS) {
    const size_t keys = round_up(T, kStep), HSP = padded(HS);
    float* memory = scratch(attention_scratch_floats(T, HS));
    for (float** part : {&k, &v, &dk, &dv}) *part = std::exchange(memory, memory + keys * HSP);
    for (float** part : {&scores, &gradients}) *part = std::exchange(memory, memory + keys * kQueries);
    for (float** part : {&q_columns, &dout_columns, &q_rows, &dout_rows, &sums})
      *part = std::exchange(memory, memory + kQueries * HSP);
    weights = memory;
  }
};

// A block of queries, and some of the keys it sees.
struct Block {
  size_t i0, queries;
  size_t next;  // queries of the next block of this part, 0 after the last one
  bool first;   // of this part
  size_t lanes() const { return round_up(queries, kStep); }
};
struct Chunk {
  size_t j0, keys;  // multiples of kStep; keys beyond the block's last query have k = v = 0 and are seen by no query
  size_t first;     // the queries of the block before this one see none of these keys
};

template <class F>
void for_each_chunk(const Block& block, F&& f) {
  for (size_t j0 = 0; j0 < block.i0; j0 += kKeys) f(Chunk{j0, kKeys, 0});
  for (size_t first = 0; first < block.queries; first += kStep) f(Chunk{block.i0 + first, kStep, first});
}

// z (chunk, kQueries): z_j = <q, k_j> / sqrt(HS) - slope (t - j)
void compute_scores(float* z, Scratch& s, const Head& head, const Block& block, const Chunk& chunk) {
  product(z + chunk.first, kQueries, s.k + chunk.j0 * head.HSP, head.HSP, s.q_columns + chunk.first, kQueries,
          chunk.keys, block.lanes() - chunk.first, head.HS, false, s.ahead);
  if (head.slope == 0) return;
  for (size_t i = chunk.first; i < block.lanes(); i += W) {
    const Pack t = Pack::iota() + Pack(float(block.i0 + i));
    for (size_t j = 0; j < chunk.keys; j++) {
      float* at = z + j * kQueries + i;
      (Pack::load(at) - Pack(head.slope) * (t - Pack(float(chunk.j0 + j)))).store(at);
    }
  }
}

// The mask of a key that every lane sees.
struct Everyone {};

inline Pack select(Everyone, Pack a, Pack) { return a; }  // beside num::select for a real mask

// Row and Back consist of packs alone: both are arrays of words.
template <class State>
constexpr size_t kWords = sizeof(State) / sizeof(Pack);

template <class State>
Pack& word(State& state, size_t w) {
  static_assert(sizeof(State) % sizeof(Pack) == 0);
  return reinterpret_cast<Pack*>(&state)[w];
}

template <class Mask, class State>
State select_words(Mask mask, State a, State b) {
  for (size_t w = 0; w < kWords<State>; w++) word(a, w) = select(mask, word(a, w), word(b, w));
  return a;
}

// Calls f(key of the chunk, j, mask of the lanes that see it) for the pack of queries t0 .. t0 + W - 1.
template <class F>
inline void sweep_keys(const Chunk& chunk, size_t t0, F&& f) {
  const size_t seen = std::min(chunk.keys, t0 + 1 - chunk.j0);
  Pack j(float(chunk.j0));
  for (size_t key = 0; key < seen; key++, j += Pack(1)) f(key, j, Everyone());
  const Pack t = Pack::iota() + Pack(float(t0));
  for (size_t key = seen; key < chunk.keys; key++, j += Pack(1)) f(key, j, t >= j);
}

// Word w of the rows of queries t0 .. t0 + W - 1; each word is contiguous over the queries of a head.
template <class N>
size_t row_offset(const Head& head, size_t t0, size_t w) {
  return (head.index * kRowWords<N> + w) * round_up(head.T, kStep) + t0;
}

// Learned numbers that the rows of one head read: scalars, the same in every lane, and the scale of a lane's length.
template <class N>
struct Theta {
  Pack lanes[N::params + 1];
  const float* length_scale;

  Theta(const float* theta, const float* length_scale, size_t h, size_t NH) : length_scale(length_scale) {
    for (int i = 0; i < N::params; i++) lanes[i] = Pack(theta[i * NH + h]);
  }
  // Those of queries t0 .. t0 + W - 1; 0 for a scale beyond T.
  const Pack* of(size_t t0, size_t T) {
    if constexpr (N::length_scale)
      lanes[N::params] = t0 < T ? Pack::load(length_scale + t0, std::min(W, T - t0)) : Pack(0);
    return lanes;
  }
};

Pack keys_seen(size_t t0) { return Pack::iota() + Pack(float(t0 + 1)); }

template <class N>
void forward_block(float* out, float* rows, const Head& head, Theta<N>& theta, const Block& block, Scratch& s) {
  using Row = typename N::template Row<Pack>;
  Row row[kPacks];
  for (size_t i = 0; i < block.lanes(); i += W)
    row[i / W] = N::template begin<Pack>(keys_seen(block.i0 + i), theta.of(block.i0 + i, head.T));
  load_queries(s.q_columns, nullptr, head.q + block.i0 * 3 * head.C, 3 * head.C, head.inverse_root, block.queries,
               head.HS);

  for_each_pass<N::passes>([&](auto pass) {
    constexpr bool last = pass == N::passes - 1;
    for_each_chunk(block, [&](const Chunk& chunk) {
      float* z = s.scores + (N::passes > 1 ? chunk.j0 * kQueries : 0);

      // 1. scores
      if constexpr (pass == 0) compute_scores(z, s, head, block, chunk);

      // 2. weights before scaling, over the scores
      for (size_t i = chunk.first; i < block.lanes(); i += W) {
        Row state = row[i / W];
        sweep_keys(chunk, block.i0 + i, [&](size_t key, Pack j, auto mask) {
          float* at = z + key * kQueries + i;
          Row with = state;
          const Pack weight = N::add(with, Pack::load(at), j, pass);
          state = select_words(mask, with, state);
          if constexpr (last) select(mask, weight, Pack(0)).store(at);
        });
        row[i / W] = state;
      }

      // 3. output before scaling = sum_j weight_j v_j
      if constexpr (last)
        product_transposed(s.sums + chunk.first * head.HSP, head.HSP, z + chunk.first, kQueries,
                           s.v + chunk.j0 * head.HSP, head.HSP, block.lanes() - chunk.first, head.HSP, chunk.keys,
                           chunk.j0 > 0, s.ahead);
    });
    for (size_t i = 0; i < block.lanes(); i += W) N::end(row[i / W], pass);
  });

  float scale[kQueries];
  for (size_t i = 0; i < block.lanes(); i += W) {
    N::scale(row[i / W]).store(scale + i);
    for (size_t w = 0; w < kWords<Row>; w++) word(row[i / W], w).store(rows + row_offset<N>(head, block.i0 + i, w));
  }
  store_rows(out + head.at(block.i0), head.C, s.sums, scale, block.queries, head.HS);
}

// Adds the block's part to dk, dv and dscalars (params); what no earlier block of the part saw of dk and dv is
// overwritten, and so is the block's part of dlengths (T), the head's own gradients of the scales of lengths.
template <class N>
void backward_block(float* dq, float* dk, float* dv, double* dscalars, float* dlengths, const float* dout,
                    const float* out, const float* rows, const Head& head, const Block& block, Scratch& s) {
  using Row = typename N::template Row<Pack>;
  using Back = typename N::template Back<Pack>;
  constexpr bool one_pass = N::back_passes == 1;
  const size_t HSP = head.HSP, from = head.at(block.i0);

  if (block.next > 0) {
    const size_t next = head.at(block.i0 + kQueries);
    for (const float* array : {out, dout}) s.ahead.add(array + next, head.C, block.next, head.HS);
  }

  // dot = <dout, out>. Queries beyond T have dout = 0 and so leave no trace.
  float dot[kQueries] = {};
  row_dots(dot, dout + from, out + from, head.C, block.queries, head.HS);
  load_queries(s.dout_columns, s.dout_rows, dout + from, head.C, 1, block.queries, head.HS);
  load_queries(s.q_columns, s.q_rows, head.q + block.i0 * 3 * head.C, 3 * head.C, head.inverse_root, block.queries,
               head.HS);

  Row row[kPacks];
  Back back[kPacks];
  for (size_t i = 0; i < block.lanes(); i += W) {
    for (size_t w = 0; w < kWords<Row>; w++)
      word(row[i / W], w) = Pack::load(rows + row_offset<N>(head, block.i0 + i, w));
    back[i / W] = N::back_begin(row[i / W], Pack::load(dot + i));
  }

  for_each_pass<N::back_passes>([&](auto pass) {
    constexpr bool last = pass == N::back_passes - 1;
    for_each_chunk(block, [&](const Chunk& chunk) {
      const size_t lanes = block.lanes() - chunk.first;
      const bool seen_before = chunk.j0 < block.i0 && !block.first;  // by a block of this part
      float* z = s.scores + (one_pass ? 0 : chunk.j0 * kQueries);
      float* g = s.gradients + (one_pass ? 0 : chunk.j0 * kQueries);
      float* weights = one_pass ? z : s.weights;
      float *k = s.k + chunk.j0 * HSP, *v = s.v + chunk.j0 * HSP;

      if constexpr (pass == 0) {
        // 3. g_j = <dout, v_j>
        product(g + chunk.first, kQueries, v, HSP, s.dout_columns + chunk.first, kQueries, chunk.keys, lanes, head.HS,
                false, s.ahead);
        // 1. the scores again
        compute_scores(z, s, head, block, chunk);
      }

      // 2. weights again, and g becomes dz
      for (size_t i = chunk.first; i < block.lanes(); i += W) {
        const Row finished = row[i / W];
        Back state = back[i / W];
        sweep_keys(chunk, block.i0 + i, [&](size_t key, Pack j, auto mask) {
          const size_t at = key * kQueries + i;
          const Pack score = Pack::load(z + at);
          Back with = state;
          const Pack d = N::back_add(finished, with, score, j, Pack::load(g + at), pass);
          state = select_words(mask, with, state);
          if constexpr (pass == 0) select(mask, weight<N>(finished, score, j), Pack(0)).store(weights + at);
          select(mask, d, Pack(0)).store(g + at);
        });
        back[i / W] = state;
      }

      // 3. dv_j += sum_i a_ij dout_i
      if constexpr (pass == 0)
        product(dv + chunk.j0 * HSP, HSP, weights + chunk.first, kQueries, s.dout_rows + chunk.first * HSP, HSP,
                chunk.keys, HSP, lanes, seen_before, s.ahead);

      // 1. dk_j += sum_i dz_ij q_i / sqrt(HS),  dq_i sqrt(HS) = sum_j dz_ij k_j
      if constexpr (last) {
        product(dk + chunk.j0 * HSP, HSP, g + chunk.first, kQueries, s.q_rows + chunk.first * HSP, HSP, chunk.keys, HSP,
                lanes, seen_before, s.ahead);
        product_transposed(s.sums + chunk.first * HSP, HSP, g + chunk.first, kQueries, k, HSP, lanes, HSP, chunk.keys,
                           chunk.j0 > 0, s.ahead);
      }
    });
  });

  if constexpr (constexpr int words = kThetaWords<N>; words > 0)
    for (size_t i = 0; i < block.lanes(); i += W) {
      const size_t t0 = block.i0 + i;
      Pack d[words];
      N::dparam(back[i / W], keys_seen(t0), d);
      for (int p = 0; p < N::params; p++) dscalars[p] += d[p].sum();
      if constexpr (N::length_scale)
        if (t0 < head.T) d[N::params].store(dlengths + t0, std::min(W, head.T - t0));
    }
  float scale[kQueries];
  std::fill_n(scale, kQueries, head.inverse_root);
  store_rows(dq + block.i0 * 3 * head.C, 3 * head.C, s.sums, scale, block.queries, head.HS);
}

// Calls f(block) for the blocks of queries of a part, when the keys and values that the block sees are in s; q, k and v
// of the next block are on their way then.
template <class F>
void for_each_block(const Head& head, const Split& split, size_t part, Scratch& s, F&& f) {
  const size_t stride = 3 * head.C;
  size_t loaded = 0;
  for (size_t i0 = split.begin[part]; i0 < split.begin[part + 1]; i0 += kQueries) {
    const size_t end = std::min(i0 + kQueries, split.begin[part + 1]);
    const size_t next = std::min(kQueries, split.begin[part + 1] - end);
    for (size_t i : {1, 2})
      copy_rows((i == 1 ? s.k : s.v) + loaded * head.HSP, head.q + loaded * stride + i * head.C, stride, end - loaded,
                head.HS);
    s.ahead.clear();
    if (next > 0)
      for (size_t i : {0, 1, 2}) s.ahead.add(head.q + end * stride + i * head.C, stride, next, head.HS);
    f(Block{i0, end - i0, next, loaded == 0});
    loaded = end;
  }
}

}  // namespace

template <class N>
void attention_forward(float* out, float* rows, const float* qkv, const float* theta, const float* length_scale,
                       const float* slopes, size_t B, size_t T, size_t C, size_t NH) {
  const Split split(B, T, NH);
  parallel_jobs(B * NH * split.parts, [&](size_t job) {
    const size_t part = job % split.parts;
    const Head head(job / split.parts, qkv, slopes, T, C, NH);
    Theta<N> learned(theta, length_scale, head.h, NH);
    Scratch s(T, head.HS);
    for_each_block(head, split, part, s,
                   [&](const Block& block) { forward_block<N>(out, rows, head, learned, block, s); });
  });
}

template <class N>
void attention_backward(float* dqkv, float* dtheta, float* dlength_scale, const float* dout, const float* out,
                        const float* rows, const float* qkv, const float* theta, const float* slopes, size_t B,
                        size_t T, size_t C, size_t NH) {
  (void)theta;  // what the backward needs of it is in rows
  const Split split(B, T, NH);
  const size_t HS = C / NH;
  float* partials = shared_scratch(attention_shared_floats(B, T, NH, HS, N::length_scale));
  float* dlengths = partials + split.partial_floats(B * NH, padded(HS));  // (B NH,T)
  std::vector<double> dscalars(B * NH * split.parts * N::params);

  parallel_jobs(B * NH * split.parts, [&](size_t job) {
    const size_t part = job % split.parts;
    const Head head(job / split.parts, qkv, slopes, T, C, NH);
    Scratch s(T, HS);
    float* dq = dqkv + (head.q - qkv);
    float* dk = split.parts == 1 ? s.dk : partials + split.dk_offset(head.index, part, head.HSP);
    float* dv = split.parts == 1 ? s.dv : partials + split.dv_offset(head.index, part, head.HSP);
    for_each_block(head, split, part, s, [&](const Block& block) {
      backward_block<N>(dq, dk, dv, dscalars.data() + job * N::params,
                        N::length_scale ? dlengths + head.index * T : nullptr, dout, out, rows, head, block, s);
    });
    if (split.parts > 1) return;
    for (size_t t = 0; t < T; t++) {
      std::copy_n(dk + t * head.HSP, HS, dq + t * 3 * C + C);
      std::copy_n(dv + t * head.HSP, HS, dq + t * 3 * C + 2 * C);
    }
  });
  if (split.parts > 1) add_parts(dqkv, partials, split, B, T, C, NH);

  for (int i = 0; i < N::params; i++)
    for (size_t h = 0; h < NH; h++) {
      double sum = 0;
      for (size_t b = 0; b < B; b++)
        for (size_t part = 0; part < split.parts; part++)
          sum += dscalars[((b * NH + h) * split.parts + part) * N::params + i];
      dtheta[i * NH + h] += float(sum);
    }
  if constexpr (N::length_scale)
    for (size_t t = 0; t < T; t++) {
      double sum = 0;
      for (size_t head = 0; head < B * NH; head++) sum += dlengths[head * T + t];
      dlength_scale[t] += float(sum);
    }
}

template void attention_forward<SelectedNormalizer>(float*, float*, const float*, const float*, const float*,
                                                    const float*, size_t, size_t, size_t, size_t);
template void attention_backward<SelectedNormalizer>(float*, float*, float*, const float*, const float*, const float*,
                                                     const float*, const float*, const float*, size_t, size_t, size_t,
                                                     size_t);

}  // namespace cpu
