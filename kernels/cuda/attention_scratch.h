// The scratch memory of attention's backward, which is the same for every normalizer, and the sum of its learned
// scalars.
#pragma once

#include <cstddef>

namespace cuda {

// In shared_scratch: the Back rows, (heads, words, T); behind those of the normalizer with the most words, each row's
// part of dtheta, (params, heads, T). heads = B NH.
struct BackScratch {
  float *back, *dtheta;
};
BackScratch back_scratch(size_t B, size_t T, size_t NH);

// dtheta (params, NH) += the sum over the sequences and positions of a head, in an order that depends on B and T alone.
void add_dtheta(float* dtheta, const float* parts, int params, size_t B, size_t T, size_t NH);

}  // namespace cuda
