#include "kernels/cpu/parallel.h"

#ifdef _OPENMP
#include <omp.h>
#endif

#include <memory>
#include <new>
#ifdef __linux__
#include <sys/mman.h>
#endif

namespace cpu {

namespace {
// Memory that grows. On huge pages where the system offers them: packed blocks are read from end to end, again and again.
class Scratch {
 public:
  float* at_least(size_t floats) {
    if (size_ < floats) {
      size_ = 0;
      memory_.reset();
      memory_.reset(static_cast<float*>(::operator new(round_up(floats * sizeof(float), kHugePage), kAlignment)));
#ifdef __linux__
      madvise(memory_.get(), round_up(floats * sizeof(float), kHugePage),
              MADV_HUGEPAGE);  // may be refused without harm
#endif
      size_ = floats;
    }
    return memory_.get();
  }

 private:
  static constexpr size_t kHugePage = size_t(2) << 20;
  static constexpr std::align_val_t kAlignment{kHugePage};
  struct Free {
    void operator()(float* p) const { ::operator delete(p, kAlignment); }
  };
  std::unique_ptr<float, Free> memory_;
  size_t size_ = 0;
};
}  // namespace

size_t max_threads() {
#ifdef _OPENMP
  return size_t(omp_get_max_threads());
#else
  return 1;
#endif
}

float* scratch(size_t floats) {
  thread_local Scratch memory;
  return memory.at_least(floats);
}

float* shared_scratch(size_t floats) {
  thread_local Scratch memory;
  return memory.at_least(floats);
}

void reserve_scratch(size_t floats, size_t shared_floats) {
  shared_scratch(shared_floats);
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
