// The kernels of attention_plain.h. A block is one warp, and owns one row: a query t against the keys j <= t (forward,
// dq), or a key j against the queries t >= j (dk, dv).
//
//   lane      0    1    2   ...   31      A lane computes the scores of its own keys, and adds them to its own part of
//   keys      0    1    2   ...   31      the row. After a sweep the 32 parts are merged; all lanes then hold the whole
//            32   33   34   ...   63      row.
//   channels  0    1    2   ...   31      Sums over keys of vectors (out, dq; over queries: dk, dv) are kept in shared
//            32   33   34   ...   63      memory: a lane owns some channels and takes the weights of all keys in turn.
//
// Every number is read from global memory as it is needed; fp32 arithmetic whatever the storage.
#pragma once

#include "kernels/cuda/attention_row.h"

namespace cuda::plain {

// A number for each channel, in dynamic shared memory.
struct Channels {
  float* at;
  int HS;

  __device__ void clear() {
    for (int c = threadIdx.x; c < HS; c += kWarp) at[c] = 0;
  }
  template <class S>
  __device__ void load(const S* from) {
    for (int c = threadIdx.x; c < HS; c += kWarp) at[c] = to_float(from[c]);
  }
  template <class S>
  __device__ void store(S* to, float scale) const {
    for (int c = threadIdx.x; c < HS; c += kWarp) to[c] = narrow<S>(at[c] * scale);
  }
  // Each lane its own product with a vector of its own, channel after channel.
  template <class S>
  __device__ float dot(const S* other) const {
    float sum = 0;
    for (int c = 0; c < HS; c++) sum = num::fma(at[c], to_float(other[c]), sum);
    return sum;
  }
  // Adds weight_l times the vector l of lane l = 0 .. count - 1, one lane's after another's.
  template <class S>
  __device__ void add(float weight, const S* vectors, size_t stride, int count) {
    for (int l = 0; l < count; l++) {
      const float weight_l = __shfl_sync(kAllLanes, weight, l);
      for (int c = threadIdx.x; c < HS; c += kWarp)
        at[c] = num::fma(weight_l, to_float(vectors[size_t(l) * stride + c]), at[c]);
    }
  }
};

// Calls f(first, j, count, active) for first = begin, begin + 32, ...: j = first + lane is this lane's, if active;
// count of the 32 lie below `end`.
template <class F>
__device__ void for_each_group(int begin, int end, F&& f) {
  for (int first = begin; first < end; first += kWarp) {
    const int j = first + int(threadIdx.x);
    f(first, j, end - first < kWarp ? end - first : kWarp, j < end);
  }
}

template <class N, class S>
__global__ void __launch_bounds__(kWarp) forward_kernel(S* out, float* rows, const S* qkv, const float* theta,
                                                        const float* length_scale, const float* slopes, Shape shape) {
  const Head head(shape, slopes, int(blockIdx.x) / shape.T);
  const int t = int(blockIdx.x) % shape.T;
  const S *q = qkv + head.qkv + size_t(t) * head.stride, *k = qkv + head.qkv + head.C, *v = k + head.C;
  DYNAMIC_SHARED(float, memory);
  Channels query{memory, shape.HS}, sums{memory + shape.HS, shape.HS};
  query.load(q);
  sums.clear();
  __syncthreads();

  Theta<N> learned(theta, head.h, shape.NH);
  auto row = N::begin(float(t + 1), learned.of(length_scale, t, shape.T));
  for_each_pass<N::passes>([&](auto pass) {
    auto part = row;
    for_each_group(0, t + 1, [&](int first, int j, int count, bool active) {
      // 1. scores, 2. weights before scaling
      float weight = 0;
      if (active)
        weight = N::add(part, head.score(query.dot(k + size_t(j) * head.stride), float(t - j)), float(j), pass);
      // 3. output before scaling = sum_j weight_j v_j
      if constexpr (pass == N::passes - 1) sums.add(weight, v + size_t(first) * head.stride, head.stride, count);
    });
    row = merge_lanes<kWarp>(part, [&](auto& a, const auto& b) { N::merge(a, b, pass); });
    N::end(row, pass);
  });

  sums.store(out + head.out + size_t(t) * head.C, N::scale(row));
  if (threadIdx.x == 0) save_state(rows, head, t, row);
}

// dq and the finished Back of every row.
template <class N, class S>
__global__ void __launch_bounds__(kWarp)
    backward_query_kernel(S* dqkv, BackScratch scratch, const S* dout, const S* out, const float* rows, const S* qkv,
                          const float* slopes, Shape shape) {
  using Row = typename N::template Row<float>;
  using Back = typename N::template Back<float>;
  const Head head(shape, slopes, int(blockIdx.x) / shape.T);
  const int t = int(blockIdx.x) % shape.T;
  const S *q = qkv + head.qkv + size_t(t) * head.stride, *k = qkv + head.qkv + head.C, *v = k + head.C;
  DYNAMIC_SHARED(float, memory);
  Channels query{memory, shape.HS}, dout_t{memory + shape.HS, shape.HS}, sums{memory + 2 * shape.HS, shape.HS};
  query.load(q);
  dout_t.load(dout + head.out + size_t(t) * head.C);
  sums.clear();
  __syncthreads();

  // dot = sum_j a_j g_j = <dout, out>, the same in every lane
  const Row row = load_state<Row>(rows, head, t);
  float dot = 0;
  if constexpr (kDotIsSummed<N, S>) {
    for_each_group(0, t + 1, [&](int, int j, int, bool active) {
      if (!active) return;
      const float z = head.score(query.dot(k + size_t(j) * head.stride), float(t - j));
      dot = num::fma(weight<N>(row, z, float(j)), dout_t.dot(v + size_t(j) * head.stride), dot);
    });
    dot = warp_sum(dot);
  } else {
    dot = dout_t.dot(out + head.out + size_t(t) * head.C);
  }
  Back back = N::back_begin(row, dot);

  for_each_pass<N::back_passes>([&](auto pass) {
    Back part = back;
    for_each_group(0, t + 1, [&](int first, int j, int count, bool active) {
      // 3. g_j = <dout, v_j>, 2. g becomes dz
      float dz = 0;
      if (active) {
        const float z = head.score(query.dot(k + size_t(j) * head.stride), float(t - j));
        const float g = dscore<N, pass - 1>(row, back, z, float(j), dout_t.dot(v + size_t(j) * head.stride));
        dz = N::back_add(row, part, z, float(j), g, pass);
      }
      // 1. dq sqrt(HS) = sum_j dz_j k_j
      if constexpr (pass == N::back_passes - 1) sums.add(dz, k + size_t(first) * head.stride, head.stride, count);
    });
    back = merge_lanes<kWarp>(part, [&](auto& a, const auto& b) { N::back_merge(a, b, pass); });
  });

  sums.store(dqkv + head.qkv + size_t(t) * head.stride, head.inverse_root);
  if (threadIdx.x == 0) save_back<N>(scratch, head, shape.heads(), t, back);
}

// dk and dv, from the saved Row and Back of every query.
template <class N, class S>
__global__ void __launch_bounds__(kWarp)
    backward_key_kernel(S* dqkv, BackScratch scratch, const S* dout, const float* rows, const S* qkv,
                        const float* slopes, Shape shape) {
  using Row = typename N::template Row<float>;
  using Back = typename N::template Back<float>;
  const Head head(shape, slopes, int(blockIdx.x) / shape.T);
  const int j = int(blockIdx.x) % shape.T;
  const size_t key = head.qkv + size_t(j) * head.stride + head.C, value = key + head.C;
  const S *q = qkv + head.qkv, *dout_0 = dout + head.out;
  DYNAMIC_SHARED(float, memory);
  Channels k{memory, shape.HS}, v{memory + shape.HS, shape.HS};
  Channels dk{memory + 2 * shape.HS, shape.HS}, dv{memory + 3 * shape.HS, shape.HS};
  k.load(qkv + key);
  v.load(qkv + value);
  dk.clear();
  dv.clear();
  __syncthreads();

  for_each_group(j, head.T, [&](int first, int t, int count, bool active) {
    float a = 0, dz = 0;
    if (active) {
      const Row row = load_state<Row>(rows, head, t);
      const Back back = load_state<Back>(scratch.back, head, t);
      const float z = head.score(k.dot(q + size_t(t) * head.stride), float(t - j));
      a = weight<N>(row, z, float(j));
      dz = dscore<N, N::back_passes - 1>(row, back, z, float(j), v.dot(dout_0 + size_t(t) * head.C));
    }
    // 3. dv_j = sum_t a_tj dout_t,  1. dk_j sqrt(HS) = sum_t dz_tj q_t
    dv.add(a, dout_0 + size_t(first) * head.C, head.C, count);
    dk.add(dz, q + size_t(first) * head.stride, head.stride, count);
  });
  dk.store(dqkv + key, head.inverse_root);
  dv.store(dqkv + value, 1);
}

}  // namespace cuda::plain
