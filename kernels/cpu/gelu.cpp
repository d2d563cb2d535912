#include "kernels/gelu.h"

#include "kernels/cpu/parallel.h"
#include "kernels/normalizer/math.h"

namespace cpu {

using num::Pack;

namespace {

constexpr size_t kBlock = 4096;
constexpr float kTwoRootTwoOverPi = 1.5957691216f;  // 2 sqrt(2/pi)
constexpr float kCubic = 0.044715f;

// sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3)
Pack gate(Pack x) {
  Pack two_u = Pack(kTwoRootTwoOverPi) * x * num::fma(Pack(kCubic) * x, x, Pack(1));
  return Pack(1) / (Pack(1) + num::exp(-two_u));
}

}  // namespace

void gelu_forward(float* out, const float* inp, size_t n) {
  parallel_blocks(n, kBlock, [&](size_t begin, size_t end) {
    num::for_each_pack(end - begin, [&](size_t i, size_t lanes) {
      Pack x = Pack::load(inp + begin + i, lanes);
      (x * gate(x)).store(out + begin + i, lanes);
    });
  });
}

void gelu_backward(float* dinp, const float* dout, const float* inp, size_t n) {
  parallel_blocks(n, kBlock, [&](size_t begin, size_t end) {
    num::for_each_pack(end - begin, [&](size_t i, size_t lanes) {
      Pack x = Pack::load(inp + begin + i, lanes);
      Pack s = gate(x);
      Pack two_du = Pack(kTwoRootTwoOverPi) * num::fma(Pack(3 * kCubic) * x, x, Pack(1));
      Pack slope = num::fma(x * s * (Pack(1) - s), two_du, s);
      (Pack::load(dout + begin + i, lanes) * slope).store(dinp + begin + i, lanes);
    });
  });
}

}  // namespace cpu
