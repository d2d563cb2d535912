#include "kernels/attention.h"
#include "kernels/cpu/attention_block.h"
#include "kernels/cpu/parallel.h"

namespace cpu {

size_t attention_row_floats(size_t words, size_t B, size_t T, size_t NH) {
  return B * NH * words * round_up(T, kQueries);
}

// Backward: scores, gradients and weights (T, kQueries); dk and dv (T, HS padded); a transpose and two blocks of rows.
size_t attention_scratch_floats(size_t T, size_t HS) {
  const size_t HSP = round_up(HS, num::kPackWidth);
  return 3 * T * kQueries + 2 * T * HSP + HS * kQueries + 2 * kQueries * HSP;
}

}  // namespace cpu
