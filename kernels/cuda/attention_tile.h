// Attention by tiles, for head sizes 32, 64 and 128. A warp owns 16 rows, and meets the other side 16 at a time: in the
// forward and for dq its rows are queries and it walks along the keys; for dk and dv its rows are keys and it walks
// along the queries.
//
//                  keys 0 .. 15   16 .. 31   32 .. 47   48 .. 63
//     queries     +-----------+                                    A square of 16 x 16 scores is a product of rows with
//      0 .. 15    |  masked   |                          warp 0    rows. The normalizer turns it into weights, in
//                 +-----------+----------+                         registers, and it becomes an operand of the next
//     16 .. 31    |           |  masked  |               warp 1    product at once (out += weights v). Squares that no
//                 +-----------+----------+----------+              query sees are skipped; only those on the diagonal
//     32 .. 47    |           |          |  masked  |    warp 2    are masked.
//                 +-----------+----------+----------+----------+
//     48 .. 63    |           |          |          |  masked  |  warp 3
//                 +-----------+----------+----------+----------+
//
// The warps of a block walk together: what they meet passes through a ring of two stages in shared memory, one being
// filled by asynchronous copies while the other is used. Between sweeps nothing is kept but the Row: each sweep of the
// normalizer computes the scores anew.
//
// A square lies in the lanes as the result of an mma does (tensor_core.h): a lane holds 4 columns each of the rows g
// and g + 8, and four lanes a row; each adds its own keys to its own part of the Row, and two shuffles join the parts.
// So the same code serves both storage types, and only the products differ:
//
//   float   fused multiply-adds from shared memory; nothing is rounded but sums
//   bf16    mma; q, k, v and dout are bf16 as stored; the weights before scaling (forward), the weights (dv) and dz are
//           rounded to bf16 as operands of the second product, after the normalizer has summed in fp32. A row whose
//           weights cancel (sinmax_signed, cosmax) loses digits in proportion to sum |phi| / |S|, now 8 bits; so does
//           the gradient of a learned scalar, because dot = <dout, out> is taken with an output rounded to bf16.
//
// <q_t, k_j> must have the same bits as q rows by k rows (forward, dq) and as k rows by q rows (dk, dv): see
// Head::score. FMA gives them by its definition; an mma adds the same exact products in either, but nothing says in
// writing that their order on the two sides is the same.
#pragma once

#include <type_traits>

#include "kernels/cuda/attention_row.h"
#include "kernels/cuda/tensor_core.h"

namespace cuda::tile {

inline constexpr int kSquare = 16;  // rows of a warp, and of what it meets at a time

enum class Kernel { forward, query, key };

// What depends on the storage type and the head size.
template <class S, int HS>
struct Tiling {
  static constexpr bool kFloat = sizeof(S) == 4;
  static constexpr int kWarps = kFloat && HS == 128 ? 2 : 4;
  static constexpr int kThreads = kWarps * kWarp;
  static constexpr int kRows = kWarps * kSquare;  // that a block owns
  // Rows of the other side in each stage of the ring. So the kernels stay within 99 KiB, what the smallest of sm_80 and
  // later have.
  static constexpr int kStep = kFloat ? kSquare : HS == 128 ? 32 : 64;
  // From one vector to the next in shared memory: padded by 16 bytes, so that 8 of them lie in different banks.
  static constexpr int kStride = HS + int(16 / sizeof(S));

  // Blocks that a multiprocessor is to hold at least, so that with 65,536 registers a thread has up to 128 for 4 blocks
  // of 128 threads, 168 for 3, 255 for 2. Without a number the compiler aims at one of its own, and spills to reach it.
  static constexpr int blocks(Kernel kernel) {
    if (HS == 128 || kernel == Kernel::key) return 8 / kWarps;
    return kernel == Kernel::query || kFloat ? 3 : 4;
  }
};

// The lane as rows and columns of a square.
struct Lane {
  int id = threadIdx.x % kWarp, g = id / 4, q = id % 4;
};

// A square of a warp: c[n][i] is in row g + 8 (i / 2) and column 8 n + 2 q + i % 2.
struct Square {
  float c[2][4];
};

// Calls f(n, i, row, column) for the elements of a lane; row is 0 for g and 1 for g + 8, column that of the square less
// 2q.
template <class F>
__device__ void for_each_element(F&& f) {
#pragma unroll
  for (int n = 0; n < 2; n++)
#pragma unroll
    for (int i = 0; i < 4; i++) f(n, i, i / 2, 8 * n + i % 2);
}

// ---- Products -------------------------------------------------------------------------------------------------------

// Sums of a warp over what it meets, one vector for each of its rows, in the layout of mma results side by side.
template <int HS>
struct Sums {
  float c[HS / 8][4];

  __device__ Sums() {
#pragma unroll
    for (int n = 0; n < HS / 8; n++)
#pragma unroll
      for (int i = 0; i < 4; i++) c[n][i] = 0;
  }

  // Writes rows g and g + 8 that lie below `count`, times scale[0] and scale[1].
  template <class S>
  __device__ void store(S* row_0, int stride, int count, const float (&scale)[2]) const {
    const Lane lane;
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const int row = lane.g + 8 * r;
      if (row >= count) continue;
      S* at = row_0 + size_t(row) * stride + 2 * lane.q;
#pragma unroll
      for (int n = 0; n < HS / 8; n++)
        cuda::store<2>(at + 8 * n, Floats<2>{{c[n][2 * r] * scale[r], c[n][2 * r + 1] * scale[r]}});
    }
  }
};

// The 16 rows of a warp, which lie at `rows` in shared memory, as the left operand of products with rows it meets.
// held: they are read from there once, into registers.
template <class S, int HS, bool held>
struct Left;

template <int HS>
struct Left<float, HS, false> {
  const float* row;  // g
  __device__ Left(const float* rows) : row(rows + Lane().g * Tiling<float, HS>::kStride) {}

  // The products with the 16 vectors at `others`.
  __device__ Square times(const float* others) const {
    Square square{};
    others += 2 * Lane().q * Tiling<float, HS>::kStride;
#pragma unroll 4
    for (int c = 0; c < HS; c += 4) {
      const Floats<4> a[2] = {load<4>(row + c), load<4>(row + 8 * Tiling<float, HS>::kStride + c)};
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const int n = i / 2, e = i % 2;
        const Floats<4> b = load<4>(others + (8 * n + e) * Tiling<float, HS>::kStride + c);
#pragma unroll
        for (int k = 0; k < 4; k++) {
          square.c[n][e] = num::fma(a[0][k], b[k], square.c[n][e]);
          square.c[n][2 + e] = num::fma(a[1][k], b[k], square.c[n][2 + e]);
        }
      }
    }
    return square;
  }
};

template <int HS, bool held>
struct Left<bf16, HS, held> {
  const bf16* row;  // where this lane's row of an A fragment begins
  uint32_t fragments[held ? HS / 16 : 1][4];

  __device__ Left(const bf16* rows) : row(rows + Lane().id % 16 * Tiling<bf16, HS>::kStride + Lane().id / 16 * 8) {
    if constexpr (held)
#pragma unroll
      for (int k = 0; k < HS / 16; k++) ldmatrix(fragments[k], row + 16 * k);
  }

  __device__ Square times(const bf16* others) const {
    Square square{};
    const int lane = Lane().id;
    others += (lane / 16 * 8 + lane % 8) * Tiling<bf16, HS>::kStride + lane / 8 % 2 * 8;
#pragma unroll
    for (int k = 0; k < HS / 16; k++) {
      uint32_t b[4];
      ldmatrix(b, others + 16 * k);
      if constexpr (held) {
        mma(square.c[0], fragments[k], {b[0], b[1]});
        mma(square.c[1], fragments[k], {b[2], b[3]});
      } else {
        uint32_t a[4];
        ldmatrix(a, row + 16 * k);
        mma(square.c[0], a, {b[0], b[1]});
        mma(square.c[1], a, {b[2], b[3]});
      }
    }
    return square;
  }
};

// sums += weights (16 rows of the warp, 16 others) times the 16 vectors at `others`.
template <int HS>
__device__ void add_weighted(Sums<HS>& sums, const Square& weights, const float* others) {
  const Lane lane;
  others += 2 * lane.q;
#pragma unroll
  for (int n = 0; n < 2; n++)
#pragma unroll
    for (int e = 0; e < 2; e++)
#pragma unroll 1
      for (int owner = 0; owner < 4; owner++) {  // the lane of the four that holds column 8 n + 2 owner + e
        const int from = lane.g * 4 + owner;
        const float w[2] = {__shfl_sync(kAllLanes, weights.c[n][e], from),
                            __shfl_sync(kAllLanes, weights.c[n][2 + e], from)};
        const float* other = others + (8 * n + 2 * owner + e) * Tiling<float, HS>::kStride;
#pragma unroll
        for (int m = 0; m < HS / 8; m++) {
          const Floats<2> x = load<2>(other + 8 * m);
#pragma unroll
          for (int i = 0; i < 4; i++) sums.c[m][i] = num::fma(w[i / 2], x[i % 2], sums.c[m][i]);
        }
      }
}
template <int HS>
__device__ void add_weighted(Sums<HS>& sums, const Square& weights, const bf16* others) {
  const auto& w = weights.c;
  const uint32_t a[4] = {round_to_bf16_pair(w[0][0], w[0][1]), round_to_bf16_pair(w[0][2], w[0][3]),
                         round_to_bf16_pair(w[1][0], w[1][1]), round_to_bf16_pair(w[1][2], w[1][3])};
  const int lane = Lane().id;
  others += lane % 16 * Tiling<bf16, HS>::kStride + lane / 16 * 8;
#pragma unroll
  for (int m = 0; m < HS / 8; m += 2) {
    uint32_t b[4];
    ldmatrix_transposed(b, others + 8 * m);
    mma(sums.c[m], a, {b[0], b[1]});
    mma(sums.c[m + 1], a, {b[2], b[3]});
  }
}

// ---- Shared memory --------------------------------------------------------------------------------------------------

// Vectors of one head at the positions 0 .. T - 1, in global memory.
template <class S>
struct Vectors {
  const S* at;
  int stride;
};

// Starts to copy the vectors of `rows` positions from `first` on; zeros where there is none.
template <int HS, int rows, int threads, class S>
__device__ void copy_vectors(S* shared, const Vectors<S>& from, int first, int T) {
  constexpr int kChunk = 16 / sizeof(S), kChunks = HS / kChunk;  // 16 bytes each; of a vector
  static_assert(rows * kChunks % threads == 0 && threads % kChunks == 0);
  const int row = threadIdx.x / kChunks, chunk = threadIdx.x % kChunks * kChunk;
  S* to = shared + row * Tiling<S, HS>::kStride + chunk;
  const S* source = from.at + size_t(first + row) * from.stride + chunk;
#pragma unroll
  for (int i = 0; i < rows * kChunks / threads; i++) {
    constexpr int kStepRows = threads / kChunks;
    copy_async(to, source, first + row + i * kStepRows < T);
    to += kStepRows * Tiling<S, HS>::kStride;
    source += kStepRows * from.stride;
  }
}

// Words of saved states (words, TP): those of `rows` positions from `first` on, as (words, rows); zeros from TP on.
template <int words, int rows, int threads>
__device__ void copy_words(float* shared, const float* from, int first, int TP) {
  for (int i = threadIdx.x; i < words * rows / 4; i += threads) {
    const int w = i / (rows / 4), position = i % (rows / 4) * 4;
    copy_async(shared + w * rows + position, from + size_t(w) * TP + first + position, first + position < TP);
  }
}

// Shared memory of a block: its rows of `lefts` operands, unless they are held in registers; then a ring of two stages,
// each of them kStep vectors of two arrays; then as many words of saved states.
template <class S, int HS, int lefts, bool held, int words>
struct Memory {
  static constexpr int kLeft = Tiling<S, HS>::kRows * Tiling<S, HS>::kStride,
                       kOther = Tiling<S, HS>::kStep * Tiling<S, HS>::kStride;
  static constexpr size_t kRing = held ? 0 : lefts * kLeft, kStates = kRing + 4 * kOther;
  static constexpr size_t kBytes = kStates * sizeof(S) + 2 * words * Tiling<S, HS>::kStep * sizeof(float);
  static_assert(lefts * kLeft <= int(kStates), "operands that are held pass through the ring");
  static_assert(kBytes <= 99 << 10);

  S* memory;
  __device__ S* left(int i) const { return memory + i * kLeft; }
  __device__ S* other(int stage, int i) const { return memory + kRing + (2 * stage + i) * kOther; }
  __device__ float* states(int stage) const {
    return reinterpret_cast<float*>(memory + kStates) + stage * words * Tiling<S, HS>::kStep;
  }
};

// Calls use(at, stage) for at = begin, begin + step, ... below `end`, when what copy(at, stage) has begun to copy is
// there.
template <int step, class Copy, class Use>
__device__ void walk(int begin, int end, Copy&& copy, Use&& use) {
  int stage = 0;
  copy(begin, stage);
  for (int at = begin; at < end; at += step, stage ^= 1) {
    copy_wait();
    __syncthreads();  // the stage is filled, and the other one is no longer in use
    if (at + step < end) copy(at + step, stage ^ 1);
    use(at, stage);
  }
  __syncthreads();
}

inline __device__ int least(int a, int b) { return a < b ? a : b; }

// How many of the positions from `first` on there are.
inline __device__ int rows_left(int first, int T) { return first < T ? T - first : 0; }

// The sum over four neighbouring lanes; the same bits in each.
inline __device__ float quad_sum(float sum) {
#pragma unroll
  for (int distance = 1; distance < 4; distance *= 2) sum += __shfl_xor_sync(kAllLanes, sum, distance);
  return sum;
}

// <a, b> of two vectors in global memory, by four neighbouring lanes; the same bits in each.
template <int HS, class S>
__device__ float quad_dot(const S* a, const S* b) {
  constexpr int kWidth = 16 / sizeof(S);
  float sum = 0;
#pragma unroll
  for (int c = Lane().q * kWidth; c < HS; c += 4 * kWidth) {
    const Floats<kWidth> x = load<kWidth>(a + c), y = load<kWidth>(b + c);
#pragma unroll
    for (int i = 0; i < kWidth; i++) sum = num::fma(x[i], y[i], sum);
  }
  return quad_sum(sum);
}

// The states of two neighbouring positions, whose words lie `step` apart in shared memory.
template <int step, class State>
__device__ void load_pair(State (&states)[2], const float* from) {
#pragma unroll
  for (int w = 0; w < kWords<State>; w++) {
    const Floats<2> pair = load<2>(from + w * step);
    word(states[0], w) = pair[0];
    word(states[1], w) = pair[1];
  }
}

// ---- Kernels --------------------------------------------------------------------------------------------------------

// Whose rows a block owns. Blocks are numbered so that those with the most work come first.
struct Task {
  int head, tile;
  __device__ Task(const Shape& shape, bool last_tile_first) {
    const int heads = shape.heads(), number = int(blockIdx.x) / heads;
    head = int(blockIdx.x) % heads;
    tile = last_tile_first ? int(gridDim.x) / heads - 1 - number : number;
  }
};

template <class S, int HS>
using ForwardMemory = Memory<S, HS, 1, sizeof(S) == 2, 0>;

template <class N, class S, int HS>
__global__ void __launch_bounds__(Tiling<S, HS>::kThreads, Tiling<S, HS>::blocks(Kernel::forward))
    forward_kernel(S* out, float* rows, const S* qkv, const float* theta, const float* length_scale,
                   const float* slopes, Shape shape) {
  using Row = typename N::template Row<float>;
  constexpr int kVector = Tiling<S, HS>::kStride, step = Tiling<S, HS>::kStep, threads = Tiling<S, HS>::kThreads;
  constexpr bool held = sizeof(S) == 2;
  const Task task(shape, true);
  const Head head(shape, slopes, task.head);
  const int T = head.T, i0 = task.tile * Tiling<S, HS>::kRows;          // the block's first query
  const int warp = int(threadIdx.x) / kWarp, t0 = i0 + warp * kSquare;  // the warp's
  const Vectors<S> q{qkv + head.qkv, head.stride}, k{q.at + head.C, head.stride}, v{k.at + head.C, head.stride};
  const Lane lane;

  DYNAMIC_SHARED(S, shared);
  const ForwardMemory<S, HS> memory{shared};
  copy_vectors<HS, Tiling<S, HS>::kRows, threads>(memory.left(0), q, i0, T);
  copy_wait();
  __syncthreads();
  const Left<S, HS, held> query(memory.left(0) + warp * kSquare * kVector);
  __syncthreads();

  const float t[2] = {float(t0 + lane.g), float(t0 + lane.g + 8)};
  Theta<N> learned(theta, head.h, shape.NH);
  Row row[2];
#pragma unroll
  for (int r = 0; r < 2; r++) row[r] = N::begin(t[r] + 1.0f, learned.of(length_scale, t0 + lane.g + 8 * r, T));
  Sums<HS> sums;
  for_each_pass<N::passes>([&](auto pass) {
    constexpr bool last = pass == N::passes - 1;
    Row part[2] = {row[0], row[1]};
    auto copy = [&](int j0, int stage) {
      copy_vectors<HS, step, threads>(memory.other(stage, 0), k, j0, T);
      if constexpr (last) copy_vectors<HS, step, threads>(memory.other(stage, 1), v, j0, T);
    };
    walk<step>(0, least(i0 + Tiling<S, HS>::kRows, T), copy, [&](int j0, int stage) {
      for (int at = 0; at < step && j0 + at <= t0 && t0 < T; at += kSquare) {
        // 1. scores
        Square square = query.times(memory.other(stage, 0) + at * kVector);
        // 2. weights before scaling
        const float first = float(j0 + at + 2 * lane.q);
        auto weigh = [&](auto masked) {
          for_each_element([&](int n, int i, int r, int column) {
            const float j = first + float(column), z = head.score(square.c[n][i], t[r] - j);
            square.c[n][i] = 0;
            if (!masked.value || j <= t[r]) square.c[n][i] = N::add(part[r], z, j, pass);
          });
        };
        if (j0 + at < t0)
          weigh(std::false_type());
        else
          weigh(std::true_type());
        // 3. output before scaling = sum_j weight_j v_j
        if constexpr (last) add_weighted(sums, square, memory.other(stage, 1) + at * kVector);
      }
    });
#pragma unroll
    for (int r = 0; r < 2; r++) {
      row[r] = merge_lanes<4>(part[r], [&](auto& a, const auto& b) { N::merge(a, b, pass); });
      N::end(row[r], pass);
    }
  });

  const float scale[2] = {N::scale(row[0]), N::scale(row[1])};
  sums.store(out + head.out + size_t(t0) * head.C, head.C, rows_left(t0, T), scale);
#pragma unroll
  for (int r = 0; r < 2; r++)
    if (lane.q == 0 && t0 + lane.g + 8 * r < head.TP) save_state(rows, head, t0 + lane.g + 8 * r, row[r]);
}

template <class S, int HS>
using BackwardQueryMemory = Memory<S, HS, 2, sizeof(S) == 2, 0>;

// dq and the finished Back of every row.
template <class N, class S, int HS>
__global__ void __launch_bounds__(Tiling<S, HS>::kThreads, Tiling<S, HS>::blocks(Kernel::query))
    backward_query_kernel(S* dqkv, BackScratch scratch, const S* dout, const S* out, const float* rows, const S* qkv,
                          const float* slopes, Shape shape) {
  using Row = typename N::template Row<float>;
  using Back = typename N::template Back<float>;
  constexpr int kVector = Tiling<S, HS>::kStride, step = Tiling<S, HS>::kStep, threads = Tiling<S, HS>::kThreads;
  constexpr bool held = sizeof(S) == 2;
  const Task task(shape, true);
  const Head head(shape, slopes, task.head);
  const int T = head.T, i0 = task.tile * Tiling<S, HS>::kRows;          // the block's first query
  const int warp = int(threadIdx.x) / kWarp, t0 = i0 + warp * kSquare;  // the warp's
  const Vectors<S> q{qkv + head.qkv, head.stride}, k{q.at + head.C, head.stride}, v{k.at + head.C, head.stride};
  const Lane lane;

  DYNAMIC_SHARED(S, shared);
  const BackwardQueryMemory<S, HS> memory{shared};
  copy_vectors<HS, Tiling<S, HS>::kRows, threads>(memory.left(0), q, i0, T);
  copy_vectors<HS, Tiling<S, HS>::kRows, threads>(memory.left(1), Vectors<S>{dout + head.out, head.C}, i0, T);
  copy_wait();
  __syncthreads();
  const Left<S, HS, held> query(memory.left(0) + warp * kSquare * kVector);
  const Left<S, HS, held> dout_t(memory.left(1) + warp * kSquare * kVector);
  __syncthreads();

  // Calls use(scores, g, j, keys) for every square with keys from j on that the warp's queries may see: 3. g_j = <dout, v_j>
  // and 1. the scores again.
  auto sweep = [&](auto&& use) {
    auto copy = [&](int j0, int stage) {
      copy_vectors<HS, step, threads>(memory.other(stage, 0), k, j0, T);
      copy_vectors<HS, step, threads>(memory.other(stage, 1), v, j0, T);
    };
    walk<step>(0, least(i0 + Tiling<S, HS>::kRows, T), copy, [&](int j0, int stage) {
      for (int at = 0; at < step && j0 + at <= t0 && t0 < T; at += kSquare) {
        Square g = dout_t.times(memory.other(stage, 1) + at * kVector);
        const S* keys = memory.other(stage, 0) + at * kVector;
        use(query.times(keys), g, j0 + at, keys);
      }
    });
  };

  const float t[2] = {float(t0 + lane.g), float(t0 + lane.g + 8)};
  Row row[2];
  float dot[2] = {};
#pragma unroll
  for (int r = 0; r < 2; r++) {  // rows beyond T take the last one's state, and leave no trace
    const int at = least(t0 + lane.g + 8 * r, T - 1);
    row[r] = load_state<Row>(rows, head, at);
    if constexpr (!kDotIsSummed<N, S>)
      dot[r] = quad_dot<HS>(dout + head.out + size_t(at) * head.C, out + head.out + size_t(at) * head.C);
  }
  if constexpr (kDotIsSummed<N, S>) {
    sweep([&](const Square& scores, const Square& g, int first_key, const S*) {
      for_each_element([&](int n, int i, int r, int column) {
        const float j = float(first_key + 2 * lane.q + column), z = head.score(scores.c[n][i], t[r] - j);
        if (j <= t[r]) dot[r] = num::fma(weight<N>(row[r], z, j), g.c[n][i], dot[r]);
      });
    });
#pragma unroll
    for (int r = 0; r < 2; r++) dot[r] = quad_sum(dot[r]);
  }
  Back back[2] = {N::back_begin(row[0], dot[0]), N::back_begin(row[1], dot[1])};

  Sums<HS> sums;
  for_each_pass<N::back_passes>([&](auto pass) {
    Back part[2] = {back[0], back[1]};
    sweep([&](const Square& scores, Square& g, int first_key, const S* keys) {
      // 2. g becomes dz
      const float first = float(first_key + 2 * lane.q);
      auto differentiate = [&](auto masked) {
        for_each_element([&](int n, int i, int r, int column) {
          const float j = first + float(column), z = head.score(scores.c[n][i], t[r] - j), g_j = g.c[n][i];
          g.c[n][i] = 0;
          if (!masked.value || j <= t[r])
            g.c[n][i] = N::back_add(row[r], part[r], z, j, dscore<N, pass - 1>(row[r], back[r], z, j, g_j), pass);
        });
      };
      if (first_key < t0)
        differentiate(std::false_type());
      else
        differentiate(std::true_type());
      // 1. dq sqrt(HS) = sum_j dz_j k_j
      if constexpr (pass == N::back_passes - 1) add_weighted(sums, g, keys);
    });
#pragma unroll
    for (int r = 0; r < 2; r++)
      back[r] = merge_lanes<4>(part[r], [&](auto& a, const auto& b) { N::back_merge(a, b, pass); });
  });

  const float scale[2] = {head.inverse_root, head.inverse_root};
  sums.store(dqkv + head.qkv + size_t(t0) * head.stride, head.stride, rows_left(t0, T), scale);
#pragma unroll
  for (int r = 0; r < 2; r++)
    if (lane.q == 0 && t0 + lane.g + 8 * r < head.TP)
      save_back<N>(scratch, head, shape.heads(), t0 + lane.g + 8 * r, back[r]);
}

// Registers hold the sums dk and dv, and what is left of them the keys and values.
template <class S, int HS>
inline constexpr bool kKeysHeld = sizeof(S) == 2 && HS <= 64;
template <class N, class S, int HS>
using BackwardKeyMemory = Memory<S, HS, 2, kKeysHeld<S, HS>,
                                 kWords<typename N::template Row<float>> + kWords<typename N::template Back<float>>>;

// dk and dv, from the saved Row and Back of every query.
template <class N, class S, int HS>
__global__ void __launch_bounds__(Tiling<S, HS>::kThreads, Tiling<S, HS>::blocks(Kernel::key))
    backward_key_kernel(S* dqkv, BackScratch scratch, const S* dout, const float* rows, const S* qkv,
                        const float* slopes, Shape shape) {
  using Row = typename N::template Row<float>;
  using Back = typename N::template Back<float>;
  constexpr int kVector = Tiling<S, HS>::kStride, step = Tiling<S, HS>::kStep, threads = Tiling<S, HS>::kThreads;
  const Task task(shape, false);
  const Head head(shape, slopes, task.head);
  const int T = head.T, first_key = task.tile * Tiling<S, HS>::kRows;          // the block's
  const int warp = int(threadIdx.x) / kWarp, j0 = first_key + warp * kSquare;  // the warp's
  const Vectors<S> q{qkv + head.qkv, head.stride}, k{q.at + head.C, head.stride}, v{k.at + head.C, head.stride};
  const Vectors<S> douts{dout + head.out, head.C};
  const float* head_rows = head.states<Row>(rows);
  const float* head_backs = head.states<Back>(static_cast<const float*>(scratch.back));
  const Lane lane;

  DYNAMIC_SHARED(S, shared);
  const BackwardKeyMemory<N, S, HS> memory{shared};
  copy_vectors<HS, Tiling<S, HS>::kRows, threads>(memory.left(0), k, first_key, T);
  copy_vectors<HS, Tiling<S, HS>::kRows, threads>(memory.left(1), v, first_key, T);
  copy_wait();
  __syncthreads();
  const Left<S, HS, kKeysHeld<S, HS>> key(memory.left(0) + warp * kSquare * kVector);
  const Left<S, HS, kKeysHeld<S, HS>> value(memory.left(1) + warp * kSquare * kVector);
  __syncthreads();

  const float j[2] = {float(j0 + lane.g), float(j0 + lane.g + 8)};
  Sums<HS> dk, dv;
  auto copy = [&](int i0, int stage) {
    copy_vectors<HS, step, threads>(memory.other(stage, 0), q, i0, T);
    copy_vectors<HS, step, threads>(memory.other(stage, 1), douts, i0, T);
    copy_words<kWords<Row>, step, threads>(memory.states(stage), head_rows, i0, head.TP);
    copy_words<kWords<Back>, step, threads>(memory.states(stage) + kWords<Row> * step, head_backs, i0, head.TP);
  };
  walk<step>(first_key, T, copy, [&](int i0, int stage) {
    for (int at = 0; at < step && i0 + at < T; at += kSquare) {
      if (i0 + at < j0) continue;  // these queries see none of the warp's keys
      // 1. the scores again, 3. g_j = <dout, v_j>; rows are keys, columns are queries
      Square a = key.times(memory.other(stage, 0) + at * kVector);
      Square g = value.times(memory.other(stage, 1) + at * kVector);
      // 2. weights again, and g becomes dz
      const float first = float(i0 + at + 2 * lane.q);
      auto differentiate = [&](auto masked) {
#pragma unroll
        for (int n = 0; n < 2; n++) {
          const float* states = memory.states(stage) + at + 8 * n + 2 * lane.q;
          Row row[2];
          Back back[2];
          load_pair<step>(row, states);
          load_pair<step>(back, states + kWords<Row> * step);
#pragma unroll
          for (int i = 0; i < 4; i++) {
            const float t = first + float(8 * n + i % 2), key_j = j[i / 2];
            const float z = head.score(a.c[n][i], t - key_j), g_j = g.c[n][i];
            a.c[n][i] = g.c[n][i] = 0;
            if (masked.value && !(key_j <= t && t < float(T))) continue;
            a.c[n][i] = weight<N>(row[i % 2], z, key_j);
            g.c[n][i] = dscore<N, N::back_passes - 1>(row[i % 2], back[i % 2], z, key_j, g_j);
          }
        }
      };
      if (i0 + at > j0 && i0 + at + kSquare <= T)
        differentiate(std::false_type());
      else
        differentiate(std::true_type());
      // 3. dv_j += sum_t a_tj dout_t,  1. dk_j sqrt(HS) += sum_t dz_tj q_t
      add_weighted(dv, a, memory.other(stage, 1) + at * kVector);
      add_weighted(dk, g, memory.other(stage, 0) + at * kVector);
    }
  });

  S* dk_0 = dqkv + head.qkv + head.C + size_t(j0) * head.stride;
  const float root[2] = {head.inverse_root, head.inverse_root}, one[2] = {1, 1};
  dk.store(dk_0, head.stride, rows_left(j0, T), root);
  dv.store(dk_0 + head.C, head.stride, rows_left(j0, T), one);
}

}  // namespace cuda::tile
