// What the attention kernels share: where a head's numbers lie, and the state of a row in the lanes of a warp.
#pragma once

#include <cstddef>

#include "kernels/cuda/attention_scratch.h"
#include "kernels/cuda/device.h"
#include "kernels/normalizer/normalizer.h"
#include "kernels/precision.h"

namespace cuda {

// Row and Back consist of floats alone: both are arrays of words, which the compiler keeps in registers.
template <class State>
inline constexpr int kWords = int(sizeof(State) / sizeof(float));

template <class State>
HD float& word(State& state, int w) {
  return reinterpret_cast<float*>(&state)[w];
}

// B sequences of T positions, C channels in NH heads of HS. Positions and channels fit in an int, offsets into arrays
// need a size_t.
struct Shape {
  int B, T, C, NH, HS;
  Shape(size_t B, size_t T, size_t C, size_t NH) : B(int(B)), T(int(T)), C(int(C)), NH(int(NH)), HS(int(C / NH)) {}
  HD int heads() const { return B * NH; }
};

// One head of one sequence, and where it lies in the arrays of kernels/attention.h.
struct Head {
  int T, C, stride;  // stride = 3 C: from one position of qkv to the next
  int TP;            // positions that saved states have room for
  int index, h;      // b NH + h
  size_t qkv, out;   // offset of q of position 0, k lies C and v 2 C further on; and of position 0 in out, dout
  float slope, inverse_root;  // ALiBi's; 1 / sqrt(HS)

  __device__ Head(const Shape& shape, const float* slopes, int index)
      : T(shape.T),
        C(shape.C),
        stride(3 * shape.C),
        TP(int(padded_positions(size_t(shape.T)))),
        index(index),
        h(index % shape.NH),
        qkv(size_t(index / shape.NH) * T * stride + h * shape.HS),
        out(size_t(index / shape.NH) * T * C + h * shape.HS),
        slope(slopes ? slopes[h] : 0.0f),
        inverse_root(1.0f / num::sqrt(float(shape.HS))) {}

  // Word 0 of this head's saved states, (heads, words, TP).
  template <class State, class Float>
  __device__ Float* states(Float* all) const {
    return all + size_t(index) * kWords<State> * TP;
  }

  // z from <q_t, k_j>. One function with explicit rounding, so that every kernel gets the same bits: SA-Softmax
  // subtracts the row's least score from a score.
  __device__ float score(float product, float distance) const {  // distance = t - j
    return num::fma(-slope, distance, product * inverse_root);
  }
};

template <class State>
__device__ void save_state(float* all, const Head& head, int t, State state) {
  float* of_head = head.states<State>(all) + t;
#pragma unroll
  for (int w = 0; w < kWords<State>; w++) of_head[size_t(w) * head.TP] = word(state, w);
}
template <class State>
__device__ State load_state(const float* all, const Head& head, int t) {
  const float* of_head = head.states<State>(all) + t;
  State state;
#pragma unroll
  for (int w = 0; w < kWords<State>; w++) word(state, w) = of_head[size_t(w) * head.TP];
  return state;
}

// Joins the states of 2, 4, ... `lanes` neighbouring lanes; merge(first, second) joins two. The lower lane's is always
// the first, so all of them end with the same bits.
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

// dot = sum_j a_j g_j is <dout, out>. An out that was rounded to bf16 makes it wrong by up to 2^-9 of |dout| |out|: too
// little to matter to dz, but the gradient of a learned scalar sums a_j (g_j - dot) z_j over the row, where terms cancel
// that are all wrong by the same. There dot is summed in a sweep of its own.
template <class N, class S>
inline constexpr bool kDotIsSummed = sizeof(S)<sizeof(float) && N::params> 0;

// The learned numbers that the rows of a head read.
template <class N>
struct Theta {
  float numbers[N::params + 1];
  __device__ Theta(const float* theta, int h, int NH) {
#pragma unroll
    for (int i = 0; i < N::params; i++) numbers[i] = theta[i * NH + h];
  }
  // Those of query t; rows beyond T take the last one's.
  __device__ const float* of(const float* length_scale, int t, int T) {
    if constexpr (N::length_scale) numbers[N::params] = length_scale[t < T ? t : T - 1];
    return numbers;
  }
};

// Saves the finished Back of query t, and its parts of dtheta and dlength_scale.
template <class N>
__device__ void save_back(const BackScratch& scratch, const Head& head, int heads, int t,
                          typename N::template Back<float> back) {
  save_state(scratch.back, head, t, back);
  if constexpr (constexpr int words = kThetaWords<N>; words > 0) {
    float d[words];
    N::dparam(back, float(t + 1), d);
#pragma unroll
    for (int i = 0; i < N::params; i++) scratch.dtheta[size_t(i * heads + head.index) * head.TP + t] = d[i];
    if constexpr (N::length_scale)
      if (t < head.T) scratch.dlengths[size_t(head.index) * head.T + t] = d[N::params];
  }
}

}  // namespace cuda
