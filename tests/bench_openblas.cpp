#include "tests/bench_openblas.h"

#include <dlfcn.h>

#include <cstdlib>

namespace {
constexpr int kRowMajor = 101, kNoTrans = 111, kTrans = 112;  // of cblas.h
}

std::optional<OpenBlas> OpenBlas::load(int threads) {
  // Some environments set these for reproducible results; they would choose kernels of another CPU, at half the speed.
  unsetenv("OPENBLAS_CORETYPE");
  unsetenv("OPENBLAS_L2_SIZE");
  void* library = nullptr;
  for (const char* name : {"libopenblas.so.0", "libopenblas.so", "libopenblas.dylib"})
    if (!library) library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (!library) return {};
  OpenBlas blas;
  blas.sgemm_ = reinterpret_cast<Sgemm>(dlsym(library, "cblas_sgemm"));
  auto set_threads = reinterpret_cast<void (*)(int)>(dlsym(library, "openblas_set_num_threads"));
  auto config = reinterpret_cast<char* (*)()>(dlsym(library, "openblas_get_config"));
  auto corename = reinterpret_cast<char* (*)()>(dlsym(library, "openblas_get_corename"));
  if (!blas.sgemm_ || !set_threads || !config || !corename) return {};
  set_threads(threads);
  blas.description_ = std::string(config()) + ", kernels for " + corename();
  return blas;
}

void OpenBlas::sgemm(float* c, const float* a, bool transpose_a, const float* b, bool transpose_b, size_t M, size_t N,
                     size_t K, float beta) const {
  sgemm_(kRowMajor, transpose_a ? kTrans : kNoTrans, transpose_b ? kTrans : kNoTrans, int(M), int(N), int(K), 1.0f, a,
         int(transpose_a ? M : K), b, int(transpose_b ? K : N), beta, c, int(N));
}
