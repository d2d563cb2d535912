// Sums over rows, for the gradients of what all rows share (biases, LayerNorm's gains). They have two stages, so that many
// blocks can work and the order of additions is still fixed: first every block leaves the sum of its own rows in scratch
// memory, then those partial sums are added to the result.
#pragma once

#include <cstddef>

namespace cuda {

// first[c] += sum_p partial[p, 0, c],   second[c] += sum_p partial[p, 1, c],   p = 0 .. parts-1, c = 0 .. C-1
// partial (parts,2,C), or (parts,1,C) where second is null.
void add_partial_sums(float* first, float* second, const float* partial, size_t parts, size_t C);

}  // namespace cuda
