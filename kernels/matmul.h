// A linear layer.
//
//   out[i, o] = bias[o] + sum_c inp[i, c] W[c, o]        i = 0 .. BT-1, c = 0 .. C-1, o = 0 .. OC-1
//
//   inp (BT,C)   out (BT,OC)   bias (OC) or null   weight (C,OC), or (OC,C) with WeightLayout::kOutIn (W transposed)
//
// cost: 2 BT C OC flop forward, twice that backward
#pragma once

#include <cstddef>

#include "kernels/precision.h"

enum class WeightLayout {
  kInOut,  // (C,OC): all layers, as GPT-2's checkpoints have them
  kOutIn,  // (OC,C): the head, which may be the token embedding (V,C)
};

namespace cpu {

// Overwrites out. P: the precision of the operands (fp32, bf16).
template <class P = fp32>
void matmul_forward(float* out, const float* inp, const float* weight, const float* bias, size_t BT, size_t C,
                    size_t OC, WeightLayout layout = WeightLayout::kInOut);

// dinp = dout W^T (overwritten); dW += inp^T dout; dbias += column sums of dout. Each is skipped if null.
template <class P = fp32>
void matmul_backward(float* dinp, float* dweight, float* dbias, const float* dout, const float* inp,
                     const float* weight, size_t BT, size_t C, size_t OC, WeightLayout layout = WeightLayout::kInOut);

// Scratch memory of one thread, in floats, whatever the shape.
size_t matmul_scratch_floats();

// Scratch memory that all threads share, in floats, at most: for all products of this shape in any precision.
size_t matmul_shared_floats(size_t BT, size_t C, size_t OC);

}  // namespace cpu

namespace cuda {

// The products are cuBLAS's. P is also what inp, out, weight and their gradients are stored in, but dweight and dbias are
// fp32.
template <class P>
void matmul_forward(P* out, const P* inp, const P* weight, const float* bias, size_t BT, size_t C, size_t OC,
                    WeightLayout layout = WeightLayout::kInOut);
template <class P>
void matmul_backward(P* dinp, float* dweight, float* dbias, const P* dout, const P* inp, const P* weight, size_t BT,
                     size_t C, size_t OC, WeightLayout layout = WeightLayout::kInOut);
inline size_t matmul_scratch_floats() { return 0; }
size_t matmul_shared_floats(size_t BT, size_t C, size_t OC);

}  // namespace cuda
