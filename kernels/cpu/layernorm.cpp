#include "kernels/layernorm.h"

#include <cmath>

#include "kernels/cpu/pack.h"
#include "kernels/cpu/parallel.h"

namespace cpu {

using num::for_each_pack;
using num::Pack;

namespace {

constexpr size_t kLeastRows = 16;  // a job

// Steps 2 and 3 of a row x (C) whose sum is known.
void normalize_row(float* out, float* mean, float* rstd, const float* x, float sum, const float* weight,
                   const float* bias, size_t C) {
  const Pack m(sum / float(C));

  // 2. variance, around the mean: no cancellation
  Pack squares(0);
  for_each_pack(C, [&](size_t c, size_t lanes) {
    Pack d = num::first(Pack::load(x + c, lanes) - m, lanes);
    squares = num::fma(d, d, squares);
  });
  const float r = 1 / std::sqrt(squares.sum() / float(C) + kLayerNormEps);

  // 3. normalize, scale, shift
  for_each_pack(C, [&](size_t c, size_t lanes) {
    Pack normalized = (Pack::load(x + c, lanes) - m) * Pack(r);
    num::fma(normalized, Pack::load(weight + c, lanes), Pack::load(bias + c, lanes)).store(out + c, lanes);
  });
  *mean = sum / float(C);
  *rstd = r;
}

void add_to(float* to, const float* from, size_t n) {
  for_each_pack(n, [&](size_t i, size_t lanes) {
    (Pack::load(to + i, lanes) + Pack::load(from + i, lanes)).store(to + i, lanes);
  });
}

}  // namespace

void layernorm_forward(float* out, float* mean, float* rstd, const float* inp, const float* weight, const float* bias,
                       size_t BT, size_t C) {
  parallel_blocks(BT, block_length(BT, kLeastRows), [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) {
      // 1. mean
      const float* x = inp + i * C;
      Pack sum(0);
      for_each_pack(C, [&](size_t c, size_t lanes) { sum += Pack::load(x + c, lanes); });
      normalize_row(out + i * C, mean + i, rstd + i, x, sum.sum(), weight, bias, C);
    }
  });
}

void residual_layernorm_forward(float* out, float* mean, float* rstd, float* inp, const float* stream,
                                const float* branch, const float* weight, const float* bias, size_t BT, size_t C) {
  if (!branch) return layernorm_forward(out, mean, rstd, inp, weight, bias, BT, C);
  parallel_blocks(BT, block_length(BT, kLeastRows), [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) {
      // 1. the sum of both, and its mean
      float* x = inp + i * C;
      Pack sum(0);
      for_each_pack(C, [&](size_t c, size_t lanes) {
        Pack both = Pack::load(stream + i * C + c, lanes) + Pack::load(branch + i * C + c, lanes);
        both.store(x + c, lanes);
        sum += both;
      });
      normalize_row(out + i * C, mean + i, rstd + i, x, sum.sum(), weight, bias, C);
    }
  });
}

// One visit to every row. What a block of rows adds to dweight and dbias goes to its own memory, and then from there, in
// the order of the blocks.
void layernorm_backward(float* dinp, float* dweight, float* dbias, const float* dresidual, const float* dout,
                        const float* inp, const float* weight, const float* mean, const float* rstd, size_t BT,
                        size_t C) {
  const size_t rows = block_length(BT, kLeastRows);
  float* partial = shared_scratch(layernorm_shared_floats(C));  // (blocks, 2, C): dweight, dbias
  parallel_blocks(BT, rows, [&](size_t begin, size_t end) {
    float *dw = partial + begin / rows * 2 * C, *db = dw + C;
    std::fill(dw, dw + 2 * C, 0.0f);
    for (size_t i = begin; i < end; i++) {
      const Pack m(mean[i]), r(rstd[i]);
      auto x = [&](size_t c, size_t lanes) { return (Pack::load(inp + i * C + c, lanes) - m) * r; };
      auto dy = [&](size_t c, size_t lanes) { return Pack::load(dout + i * C + c, lanes); };

      // 3. weight and bias
      Pack sum_d(0), sum_dx(0);
      for_each_pack(C, [&](size_t c, size_t lanes) {
        Pack xc = x(c, lanes), dyc = dy(c, lanes), d = dyc * Pack::load(weight + c, lanes);
        num::fma(dyc, xc, Pack::load(dw + c, lanes)).store(dw + c, lanes);
        (Pack::load(db + c, lanes) + dyc).store(db + c, lanes);
        sum_d += d;
        sum_dx = num::fma(d, xc, sum_dx);
      });

      // 2. and 1. through the variance and the mean
      const Pack mean_d(sum_d.sum() / float(C)), mean_dx(sum_dx.sum() / float(C));
      for_each_pack(C, [&](size_t c, size_t lanes) {
        Pack through = dy(c, lanes) * Pack::load(weight + c, lanes) - mean_d - x(c, lanes) * mean_dx;
        Pack other = dresidual ? Pack::load(dresidual + i * C + c, lanes) : Pack(0);
        num::fma(r, through, other).store(dinp + i * C + c, lanes);
      });
    }
  });

  parallel_blocks(C, 256, [&](size_t begin, size_t end) {
    for (size_t block = 0; block < divide_up(BT, rows); block++) {
      add_to(dweight + begin, partial + block * 2 * C + begin, end - begin);
      add_to(dbias + begin, partial + block * 2 * C + C + begin, end - begin);
    }
  });
}

size_t layernorm_shared_floats(size_t C) { return kMostBlocks * 2 * C; }

}  // namespace cpu
