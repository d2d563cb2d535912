#include "kernels/cpu/parallel.h"

#include <memory>
#include <new>

namespace cpu {

namespace {
constexpr std::align_val_t kAlignment{64};
struct Free {
  void operator()(float* p) const { ::operator delete(p, kAlignment); }
};
}  // namespace

float* scratch(size_t floats) {
  thread_local std::unique_ptr<float, Free> memory;
  thread_local size_t size = 0;
  if (size < floats) {
    size = 0;
    memory.reset();
    memory.reset(static_cast<float*>(::operator new(floats * sizeof(float), kAlignment)));
    size = floats;
  }
  return memory.get();
}

void reserve_scratch(size_t floats) {
  bool refused = false;
#pragma omp parallel
  {
    try {  // an exception must not leave a parallel region
      scratch(floats);
    } catch (const std::bad_alloc&) {
#pragma omp atomic write
      refused = true;
    }
  }
  if (refused) throw std::bad_alloc();
}

}  // namespace cpu
