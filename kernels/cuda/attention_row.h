// What the attention kernels share: where a head's numbers lie, and the state of a row in the lanes of a warp.
#pragma once

#include <cstddef>

#include "kernels/cuda/attention_scratch.h"
#include "kernels/cuda/device.h"
#include "kernels/normalizer/normalizer.h"
#include "kernels/precision.h"

namespace cuda {

// B sequences of T positions, C channels in NH heads of HS.
struct Shape {
  size_t B, T, C, NH, HS;
  HD size_t heads() const { return B * NH; }
};

// One head of one sequence: offsets into the arrays of kernels/attention.h. Where the offset of position t is given,
// that of position t + 1 lies `stride` or C further on.
struct Head {
  size_t T, C, stride;        // stride = 3 C: from one position of qkv to the next
  size_t index;               // b NH + h
  size_t h, qkv, out;         // qkv: of q of position 0; k lies C and v 2 C further on. out: of position 0 in out, dout
  float slope, inverse_root;  // ALiBi's; 1 / sqrt(HS)

  __device__ Head(const Shape& shape, const float* slopes, unsigned index)
      : T(shape.T),
        C(shape.C),
        stride(3 * shape.C),
        index(index),
        h(index % unsigned(shape.NH)),
        qkv(index / unsigned(shape.NH) * shape.T * stride + h * shape.HS),
        out(index / unsigned(shape.NH) * shape.T * shape.C + h * shape.HS),
        slope(slopes ? slopes[h] : 0.0f),
        inverse_root(1.0f / num::sqrt(float(shape.HS))) {}

  // z from <q_t, k_j>. One function with explicit rounding, so that every kernel gets the same bits: SA-Softmax
  // subtracts the row's least score from a score.
  __device__ float score(float product, float distance) const {  // distance = t - j
    return num::fma(-slope, distance, product * inverse_root);
  }
};

// Row and Back consist of floats alone: both are arrays of words, which the compiler keeps in registers.
template <class State>
inline constexpr int kWords = int(sizeof(State) / sizeof(float));

template <class State>
HD float& word(State& state, int w) {
  return reinterpret_cast<float*>(&state)[w];
}

// Saved states lie as (heads, words, T): `at` points at word 0 of one position.
template <class State>
__device__ void save_state(float* at, State state, size_t T) {
#pragma unroll
  for (int w = 0; w < kWords<State>; w++) at[w * T] = word(state, w);
}
template <class State>
__device__ State load_state(const float* at, size_t T) {
  State state;
#pragma unroll
  for (int w = 0; w < kWords<State>; w++) word(state, w) = at[w * T];
  return state;
}

// Joins the states of 2, 4, ... `lanes` neighbouring lanes; merge(first, second) joins two. The lower lane's is always the
// first, so all of them end with the same bits.
template <int lanes, class State, class Merge>
__device__ State merge_lanes(State mine, Merge merge) {
#pragma unroll
  for (int distance = 1; distance < lanes; distance *= 2) {
    State other;
#pragma unroll
    for (int w = 0; w < kWords<State>; w++) word(other, w) = __shfl_xor_sync(kAllLanes, word(mine, w), distance);
    const bool upper = threadIdx.x & distance;
#pragma unroll
    for (int w = 0; w < kWords<State>; w++) {
      const float a = word(mine, w), b = word(other, w);
      word(mine, w) = upper ? b : a;
      word(other, w) = upper ? a : b;
    }
    merge(mine, other);
  }
  return mine;
}

// The learned scalars of a head.
template <class N>
struct Theta {
  float scalars[N::params + 1];
  __device__ Theta(const float* theta, size_t h, size_t NH) {
#pragma unroll
    for (int i = 0; i < N::params; i++) scalars[i] = theta[i * NH + h];
  }
};

// Saves the finished Back of query t, and its part of dtheta.
template <class N>
__device__ void save_back(const BackScratch& scratch, const Head& head, size_t heads, size_t t,
                          typename N::template Back<float> back) {
  save_state(scratch.back + head.index * kWords<decltype(back)> * head.T + t, back, head.T);
  if constexpr (N::params > 0) {
    float d[N::params];
    N::dparam(back, float(t + 1), d);
#pragma unroll
    for (int i = 0; i < N::params; i++) scratch.dtheta[(i * heads + head.index) * head.T + t] = d[i];
  }
}

}  // namespace cuda
