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
    memory.reset();
    memory.reset(static_cast<float*>(::operator new(floats * sizeof(float), kAlignment)));
    size = floats;
  }
  return memory.get();
}

}  // namespace cpu
