#include "kernels/rope.h"

#include "kernels/cpu/pack.h"
#include "kernels/cpu/parallel.h"
#include "kernels/portable_math.h"

void rope_table(float* table, size_t T, size_t HS, double theta) {
  for (size_t t = 0; t < T; t++)
    for (size_t i = 0; i < HS / 2; i++) {
      const double radians = double(t) * portable::pow(theta, -2.0 * double(i) / double(HS));
      const auto [cosine, sine] = portable::cosine_sine(radians / 6.283185307179586);
      table[t * HS + i] = float(cosine);
      table[t * HS + HS / 2 + i] = float(sine);
    }
}

namespace cpu {

using num::Pack;

namespace {

// direction +1 rotates, -1 rotates back.
void rotate(float* qkv, const float* table, float direction, size_t B, size_t T, size_t C, size_t NH) {
  const size_t half = C / NH / 2;
  parallel_blocks(B * T, block_length(B * T, 16), [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) {
      const float *cosines = table + i % T * 2 * half, *sines = cosines + half;
      for (size_t head = 0; head < 2 * NH; head++) {  // NH heads of q, then NH of k
        float* x = qkv + i * 3 * C + head * 2 * half;
        num::for_each_pack(half, [&](size_t d, size_t lanes) {
          Pack cosine = Pack::load(cosines + d, lanes), sine = Pack::load(sines + d, lanes) * Pack(direction);
          Pack a = Pack::load(x + d, lanes), b = Pack::load(x + half + d, lanes);
          num::fma(-b, sine, a * cosine).store(x + d, lanes);
          num::fma(a, sine, b * cosine).store(x + half + d, lanes);
        });
      }
    }
  });
}

}  // namespace

void rope_forward(float* qkv, const float* table, size_t B, size_t T, size_t C, size_t NH) {
  rotate(qkv, table, 1, B, T, C, NH);
}

void rope_backward(float* dqkv, const float* table, size_t B, size_t T, size_t C, size_t NH) {
  rotate(dqkv, table, -1, B, T, C, NH);
}

}  // namespace cpu
