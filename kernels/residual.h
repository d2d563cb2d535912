// The residual connection.
//
//   out = stream + branch        n numbers each; out may be either of them
//
// Its backward is the identity towards both inputs, so there is no function for it: the gradient of the stream stays
// where it is, every branch reads it as its dout, and the branch's first layer (LayerNorm) adds to it.
#pragma once

#include <cstddef>

namespace cpu {

// Overwrites out.
void residual_forward(float* out, const float* stream, const float* branch, size_t n);

}  // namespace cpu
