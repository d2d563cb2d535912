#include "kernels/embedding.h"

#include "kernels/cpu/pack.h"
#include "kernels/cpu/parallel.h"

namespace cpu {

using num::Pack;

namespace {
constexpr size_t kColumns = 2 * num::kPackWidth;  // columns a job
}

void embedding_forward(float* out, const int32_t* tokens, const float* wte, const float* wpe, size_t B, size_t T,
                       size_t C) {
  parallel_blocks(B * T, block_length(B * T, 16), [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) {
      const float* token = wte + size_t(tokens[i]) * C;
      num::for_each_pack(C, [&](size_t c, size_t lanes) {
        Pack x = Pack::load(token + c, lanes);
        if (wpe) x += Pack::load(wpe + i % T * C + c, lanes);
        x.store(out + i * C + c, lanes);
      });
    }
  });
}

// Each job owns some columns of both tables and takes all tokens in order, so equal tokens never collide.
void embedding_backward(float* dwte, float* dwpe, const float* dout, const int32_t* tokens, size_t B, size_t T,
                        size_t C) {
  auto add = [](float* to, const float* from, size_t lanes) {
    (Pack::load(to, lanes) + Pack::load(from, lanes)).store(to, lanes);
  };
  parallel_blocks(C, kColumns, [&](size_t begin, size_t end) {
    num::for_each_pack(end - begin, [&](size_t c, size_t lanes) {
      c += begin;
      for (size_t i = 0; i < B * T; i++) {
        add(dwte + size_t(tokens[i]) * C + c, dout + i * C + c, lanes);
        if (dwpe) add(dwpe + i % T * C + c, dout + i * C + c, lanes);
      }
    });
  });
}

}  // namespace cpu
