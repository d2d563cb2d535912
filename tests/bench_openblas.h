// OpenBLAS, where it is installed, as a measure for our matrix products. It is loaded when the program runs, so nothing
// needs it to build.
#pragma once

#include <optional>
#include <string>

class OpenBlas {
 public:
  // Looks for libopenblas and sets its number of threads.
  static std::optional<OpenBlas> load(int threads);

  // C (M,N) = A B + beta C, all row by row; A is (M,K), or (K,M) to be transposed, and B alike.
  void sgemm(float* c, const float* a, bool transpose_a, const float* b, bool transpose_b, size_t M, size_t N, size_t K,
             float beta) const;

  const std::string& description() const { return description_; }  // "OpenBLAS 0.3.21 ..., kernels for SkylakeX"

 private:
  using Sgemm = void (*)(int, int, int, int, int, int, float, const float*, int, const float*, int, float, float*, int);
  Sgemm sgemm_ = nullptr;
  std::string description_;
};
