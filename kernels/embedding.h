// The input of the model: token embedding, plus learned positions if there are any.
//
//   out[b, t, :] = wte[tokens[b, t], :] + wpe[t, :]
//
//   tokens (B,T), each in 0 .. V-1   wte (V,C)   wpe (T or more, C) or null   out (B,T,C)
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/precision.h"

namespace cpu {

// Overwrites out.
void embedding_forward(float* out, const int32_t* tokens, const float* wte, const float* wpe, size_t B, size_t T,
                       size_t C);

// dwte[tokens[b, t], :] += dout[b, t, :];   dwpe[t, :] += sum_b dout[b, t, :] (skipped if null)
void embedding_backward(float* dwte, float* dwpe, const float* dout, const int32_t* tokens, size_t B, size_t T,
                        size_t C);

inline size_t embedding_shared_floats(size_t, size_t) { return 0; }

}  // namespace cpu

namespace cuda {

template <class S>
void embedding_forward(S* out, const int32_t* tokens, const S* wte, const S* wpe, size_t B, size_t T, size_t C);
template <class S>
void embedding_backward(float* dwte, float* dwpe, const S* dout, const int32_t* tokens, size_t B, size_t T, size_t C);
size_t embedding_shared_floats(size_t B, size_t T);

}  // namespace cuda
