// That the CPU's kernels take subnormal numbers as 0, in every thread, and leave the caller's arithmetic as it was.
#include <limits>
#include <vector>

#include "kernels/cpu/parallel.h"
#include "kernels/matmul.h"
#include "tests/catch.h"

namespace {

constexpr float kSmallest = std::numeric_limits<float>::min();
volatile float half = 0.5f, subnormal = kSmallest / 2;

}  // namespace

TEST_CASE("jobs take subnormal operands and results as 0", "[core][parallel]") {
  for (size_t jobs : {1, 64}) {
    INFO(jobs << " jobs");
    std::vector<float> results(jobs, 1), operands(jobs, 1);
    cpu::parallel_jobs(jobs, [&](size_t i) {
      volatile float smallest = kSmallest;
      results[i] = smallest * half;
      operands[i] = subnormal * 4;
    });
    CHECK(results == std::vector<float>(jobs, 0));
    CHECK(operands == std::vector<float>(jobs, 0));
  }
}

TEST_CASE("the caller's subnormal numbers stay what they are", "[core][parallel]") {
  cpu::parallel_jobs(1, [](size_t) {});
  CHECK(subnormal * 4 == kSmallest * 2);
  cpu::parallel_jobs(64, [](size_t) {});
  CHECK(subnormal * 4 == kSmallest * 2);
}

// Operands that underflow to 0 leave a sum with any other addend as it was.
TEST_CASE("a product of subnormal numbers is 0, and others are what they were", "[core][matmul]") {
  constexpr size_t kRows = 5, kInner = 20, kColumns = 33;
  std::vector<float> weight(kInner * kColumns, 0.25f);
  std::vector<float> inp(kRows * kInner, kSmallest / 2), out(kRows * kColumns, 1);
  cpu::matmul_forward<fp32>(out.data(), inp.data(), weight.data(), nullptr, kRows, kInner, kColumns,
                            WeightLayout::kInOut);
  CHECK(out == std::vector<float>(kRows * kColumns, 0));

  for (size_t row = 0; row < kRows; row++) inp[row * kInner] = 1;
  cpu::matmul_forward<fp32>(out.data(), inp.data(), weight.data(), nullptr, kRows, kInner, kColumns,
                            WeightLayout::kInOut);
  CHECK(out == std::vector<float>(kRows * kColumns, 0.25f));
}
