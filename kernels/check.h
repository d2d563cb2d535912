// What the trainer asks of whole tensors: their norm, and whether all of their numbers are numbers.
#pragma once

#include <cstddef>

#include "kernels/precision.h"

namespace cpu {

// sum_i x[i]^2 in double, added up in fixed blocks: the same bits for any number of threads. NaN or infinity if x has
// any.
double sum_of_squares(const float* x, size_t n);

// Index of the first NaN or infinity in x, n if there is none.
size_t first_nonfinite(const float* x, size_t n);

inline size_t check_shared_floats() { return 0; }

}  // namespace cpu

namespace cuda {

// Both wait for the result.
double sum_of_squares(const float* x, size_t n);
template <class S>
size_t first_nonfinite(const S* x, size_t n);

// Scratch memory of either, in floats.
size_t check_shared_floats();

}  // namespace cuda
