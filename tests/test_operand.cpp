// How the CPU's products round their operands to bf16 and multiply them.
#include "kernels/cpu/operand.h"

#include <cstring>

#include "kernels/normalizer/math.h"
#include "kernels/random.h"
#include "tests/catch.h"

namespace {

// Every kind of number: random bits, which reach subnormal numbers, infinities and NaN, and rounding's ties.
num::Pack random_words(uint64_t index, uint32_t stream) {
  num::Pack::Bits x;
  for (int lane = 0; lane < num::kPackWidth; lane++) {
    x[lane] = Philox{{stream, 2026}}(index * num::kPackWidth + lane)[0];
    if (index % 4 == 1) x[lane] = (x[lane] & 0xffff0000u) | 0x8000u;                      // half way between two bf16
    if (index % 4 == 2) x[lane] = (x[lane] & 0x80ffffffu) + (index << 16 & 0x7f000000u);  // small exponents
  }
  return num::from_bits(x);
}

bool same_words(num::Pack a, num::Pack b) { return std::memcmp(&a, &b, sizeof a) == 0; }

}  // namespace

// Compares nothing but itself on processors without the instructions.
TEST_CASE("bf16 is rounded and multiplied as by the instructions", "[core][matmul]") {
  size_t different = 0;
  for (uint64_t i = 0; i < 100000; i++) {
    const num::Pack x = random_words(i, 1), y = random_words(i, 2);
    different += !same_words(cpu::pair_of_bf16(x, y), cpu::pair_of_bf16_generic(x, y));
    different += !same_words(cpu::successive_bf16(x, y), cpu::successive_bf16_generic(x, y));
  }
  CHECK(different == 0);
  for (uint64_t i = 0; i < 100000; i++) {  // finite operands, and sums of like size, small ones among them
    const num::Pack a = cpu::pair_of_bf16(num::from_bits(num::bits(random_words(i, 3)) & 0xbfffffffu),
                                          num::from_bits(num::bits(random_words(i, 4)) & 0xbfffffffu));
    const num::Pack b = cpu::pair_of_bf16(num::from_bits(num::bits(random_words(i, 5)) & 0xbfffffffu),
                                          num::from_bits(num::bits(random_words(i, 6)) & 0xbfffffffu));
    const num::Pack c = num::from_bits(num::bits(random_words(i, 7)) & 0xbfffffffu);
    different += !same_words(cpu::dot_bf16(a, b, c), cpu::dot_bf16_generic(a, b, c));
  }
  CHECK(different == 0);
}

TEST_CASE("rounding to bf16 goes to the nearest, ties to even, and keeps NaN and infinity", "[core][matmul]") {
  auto rounded = [](uint32_t x) {
    return num::bits(cpu::pair_of_bf16(num::from_bits(num::Pack::Bits{} + x), num::Pack(0)))[0];
  };
  CHECK(rounded(0x3f800000) == 0x3f80);  // 1
  CHECK(rounded(0x3f808000) == 0x3f80);  // a tie: to even, down
  CHECK(rounded(0x3f818000) == 0x3f82);  // a tie: to even, up
  CHECK(rounded(0x3f808001) == 0x3f81);
  CHECK(rounded(0x7f7fffff) == 0x7f80);  // the largest float becomes infinity
  CHECK(rounded(0xff800000) == 0xff80);
  CHECK(rounded(0x7f800001) == 0x7fc0);  // NaN
  CHECK(rounded(0x7fffffff) == 0x7fff);
  CHECK(rounded(0x807fffff) == 0x8000);  // subnormal
}
