// The scratch memory of attention's backward, which is the same for every normalizer, and the sum of its learned
// scalars.
#pragma once

#include <cstddef>

#include "kernels/host_device.h"

namespace cuda {

// Room for the saved states of the T positions of a head, so that each word begins on a multiple of 16 bytes.
HD constexpr size_t padded_positions(size_t T) { return (T + 3) / 4 * 4; }

// In shared_scratch: the Back rows, (heads, words, TP); behind those of the normalizer with the most words, each row's
// part of dtheta, (params, heads, TP); and, with length_scale, each row's part of dlength_scale, (heads, T), else null.
// heads = B NH, TP = padded_positions(T).
struct BackScratch {
  float *back, *dtheta, *dlengths;
};
BackScratch back_scratch(size_t B, size_t T, size_t NH, bool length_scale);

// dtheta (params, NH) += the sum over the sequences and positions of a head, in an order that depends on B and T alone.
void add_dtheta(float* dtheta, const float* parts, int params, size_t B, size_t T, size_t NH);

}  // namespace cuda
