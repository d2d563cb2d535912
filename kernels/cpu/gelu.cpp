#include "kernels/gelu.h"

#include "kernels/cpu/parallel.h"
#include "kernels/normalizer/math.h"

namespace cpu {

using num::Pack;

namespace {

constexpr size_t kLeastBlock = 4096;
constexpr float kTwoRootTwoOverPi = 1.5957691216f;  // 2 sqrt(2/pi)
constexpr float kCubic = 0.044715f;

// 1 / sigmoid(2u) = 1 + exp(-2u), u = sqrt(2/pi) (x + 0.044715 x^3)
Pack over_gate(Pack x) {
  Pack square = x * x;
  return Pack(1) + num::exp(x * num::fma(Pack(-kTwoRootTwoOverPi * kCubic), square, Pack(-kTwoRootTwoOverPi)));
}

}  // namespace

void gelu_forward(float* out, const float* inp, size_t n) {
  parallel_blocks(n, block_length(n, kLeastBlock), [&](size_t begin, size_t end) {
    num::for_each_pack(end - begin, [&](size_t i, size_t lanes) {
      Pack x = Pack::load(inp + begin + i, lanes);
      (x / over_gate(x)).store(out + begin + i, lanes);
    });
  });
}

void gelu_backward(float* dinp, const float* dout, const float* inp, size_t n) {
  parallel_blocks(n, block_length(n, kLeastBlock), [&](size_t begin, size_t end) {
    num::for_each_pack(end - begin, [&](size_t i, size_t lanes) {
      Pack x = Pack::load(inp + begin + i, lanes);
      Pack s = Pack(1) / over_gate(x);
      Pack two_du = num::fma(Pack(3 * kTwoRootTwoOverPi * kCubic) * x, x, Pack(kTwoRootTwoOverPi));
      Pack slope = num::fma(x * s * (Pack(1) - s), two_du, s);
      (Pack::load(dout + begin + i, lanes) * slope).store(dinp + begin + i, lanes);
    });
  });
}

}  // namespace cpu
