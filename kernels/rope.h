// Rotary position embedding: queries and keys are rotated by angles that grow with the position, so that their product
// depends on the distance alone.
//
//   for i < HS/2:   (x_i, x_{i + HS/2})  <-  (x_i cos a - x_{i + HS/2} sin a,  x_i sin a + x_{i + HS/2} cos a)
//   a = t theta^(-2i / HS)
//
//   qkv (B,T,3C), of which q and k are rotated in place; v is left alone   HS = C / NH, even
// Source: Su et al. 2021, arXiv 2104.09864; halves are paired as in GPT-NeoX.
#pragma once

#include <cstddef>

#include "kernels/precision.h"

// For each position the cosines of its angles, then their sines: table (T, 2, HS/2), computed in double, overwritten.
void rope_table(float* table, size_t T, size_t HS, double theta);

namespace cpu {

// Rotates q and k of qkv in place.
void rope_forward(float* qkv, const float* table, size_t B, size_t T, size_t C, size_t NH);

// Rotates dq and dk of dqkv in place by the opposite angles: the inverse of a rotation is its transpose.
void rope_backward(float* dqkv, const float* table, size_t B, size_t T, size_t C, size_t NH);

}  // namespace cpu

namespace cuda {

template <class S>
void rope_forward(S* qkv, const float* table, size_t B, size_t T, size_t C, size_t NH);
template <class S>
void rope_backward(S* dqkv, const float* table, size_t B, size_t T, size_t C, size_t NH);

}  // namespace cuda
