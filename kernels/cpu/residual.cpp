#include "kernels/residual.h"

#include "kernels/cpu/pack.h"
#include "kernels/cpu/parallel.h"

namespace cpu {

using num::Pack;

void residual_forward(float* out, const float* stream, const float* branch, size_t n) {
  parallel_blocks(n, 16384, [&](size_t begin, size_t end) {
    num::for_each_pack(end - begin, [&](size_t i, size_t lanes) {
      i += begin;
      (Pack::load(stream + i, lanes) + Pack::load(branch + i, lanes)).store(out + i, lanes);
    });
  });
}

}  // namespace cpu
