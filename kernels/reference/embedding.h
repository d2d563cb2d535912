// The embedding, written as plainly as it can be. Contract: kernels/embedding.h, for arrays of Real.
#pragma once

#include <cstddef>
#include <cstdint>

namespace reference {

template <class Real>
void embedding_forward(Real* out, const int32_t* tokens, const Real* wte, const Real* wpe, size_t B, size_t T,
                       size_t C) {
  for (size_t b = 0; b < B; b++)
    for (size_t t = 0; t < T; t++)
      for (size_t c = 0; c < C; c++) {
        size_t token = size_t(tokens[b * T + t]);
        out[(b * T + t) * C + c] = wte[token * C + c] + (wpe ? wpe[t * C + c] : Real(0));
      }
}

// A row that was read several times receives the sum of what its readers received.
template <class Real>
void embedding_backward(Real* dwte, Real* dwpe, const Real* dout, const int32_t* tokens, size_t B, size_t T, size_t C) {
  for (size_t b = 0; b < B; b++)
    for (size_t t = 0; t < T; t++)
      for (size_t c = 0; c < C; c++) {
        size_t token = size_t(tokens[b * T + t]);
        dwte[token * C + c] += dout[(b * T + t) * C + c];
        if (dwpe) dwpe[t * C + c] += dout[(b * T + t) * C + c];
      }
}

}  // namespace reference
