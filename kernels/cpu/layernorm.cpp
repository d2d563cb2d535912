#include "kernels/layernorm.h"

#include <cmath>

#include "kernels/cpu/pack.h"
#include "kernels/cpu/parallel.h"

namespace cpu {

using num::for_each_pack;
using num::Pack;

namespace {
constexpr size_t kRows = 16;                      // rows a job
constexpr size_t kColumns = 2 * num::kPackWidth;  // columns a job, where the rows are summed up
}  // namespace

void layernorm_forward(float* out, float* mean, float* rstd, const float* inp, const float* weight, const float* bias,
                       size_t BT, size_t C) {
  parallel_blocks(BT, kRows, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) {
      const float* x = inp + i * C;

      // 1. mean
      Pack sum(0);
      for_each_pack(C, [&](size_t c, size_t lanes) { sum += Pack::load(x + c, lanes); });
      float m = sum.sum() / float(C);

      // 2. variance, around the mean: no cancellation
      Pack squares(0);
      for_each_pack(C, [&](size_t c, size_t lanes) {
        Pack d = num::first(Pack::load(x + c, lanes) - Pack(m), lanes);
        squares = num::fma(d, d, squares);
      });
      float r = 1 / std::sqrt(squares.sum() / float(C) + kLayerNormEps);

      // 3. normalize, scale, shift
      for_each_pack(C, [&](size_t c, size_t lanes) {
        Pack normalized = (Pack::load(x + c, lanes) - Pack(m)) * Pack(r);
        num::fma(normalized, Pack::load(weight + c, lanes), Pack::load(bias + c, lanes)).store(out + i * C + c, lanes);
      });
      mean[i] = m;
      rstd[i] = r;
    }
  });
}

void layernorm_backward(float* dinp, float* dweight, float* dbias, const float* dout, const float* inp,
                        const float* weight, const float* mean, const float* rstd, size_t BT, size_t C) {
  // 3. weight and bias: each job owns some columns and adds up all rows of them
  parallel_blocks(C, kColumns, [&](size_t begin, size_t end) {
    for_each_pack(end - begin, [&](size_t c, size_t lanes) {
      c += begin;
      Pack dw(0), db(0);
      for (size_t i = 0; i < BT; i++) {
        Pack d = Pack::load(dout + i * C + c, lanes);
        dw = num::fma(d, (Pack::load(inp + i * C + c, lanes) - Pack(mean[i])) * Pack(rstd[i]), dw);
        db += d;
      }
      (Pack::load(dweight + c, lanes) + dw).store(dweight + c, lanes);
      (Pack::load(dbias + c, lanes) + db).store(dbias + c, lanes);
    });
  });

  // 2. and 1. through the variance and the mean
  parallel_blocks(BT, kRows, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) {
      Pack m(mean[i]), r(rstd[i]);
      auto x = [&](size_t c, size_t lanes) { return (Pack::load(inp + i * C + c, lanes) - m) * r; };
      auto d = [&](size_t c, size_t lanes) {
        return Pack::load(dout + i * C + c, lanes) * Pack::load(weight + c, lanes);
      };
      Pack sum_d(0), sum_dx(0);
      for_each_pack(C, [&](size_t c, size_t lanes) {
        Pack dc = d(c, lanes);
        sum_d += dc;
        sum_dx = num::fma(dc, x(c, lanes), sum_dx);
      });
      Pack mean_d(sum_d.sum() / float(C)), mean_dx(sum_dx.sum() / float(C));
      for_each_pack(C, [&](size_t c, size_t lanes) {
        Pack through = d(c, lanes) - mean_d - x(c, lanes) * mean_dx;
        float* to = dinp + i * C + c;
        num::fma(r, through, Pack::load(to, lanes)).store(to, lanes);
      });
    }
  });
}

}  // namespace cpu
