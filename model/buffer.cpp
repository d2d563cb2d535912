#include "model/buffer.h"

#include <cstdlib>
#include <cstring>
#include <string>

#include "data/error.h"
#include "kernels/cpu/parallel.h"
#ifdef __linux__
#include <sys/mman.h>
#endif

namespace {
constexpr size_t kHugePage = size_t(2) << 20;
}

Buffer::Buffer(size_t floats) : size_(floats) {
  size_t bytes = aligned(floats + 1) * sizeof(float);
  bool huge = bytes >= 2 * kHugePage;
  size_t alignment = huge ? kHugePage : 64;
  bytes = (bytes + alignment - 1) / alignment * alignment;
  memory_.reset(static_cast<float*>(std::aligned_alloc(alignment, bytes)));
  if (!memory_) throw Failure("the system refused " + std::to_string(bytes >> 20) + " MiB of memory");
#ifdef __linux__
  if (huge) madvise(memory_.get(), bytes, MADV_HUGEPAGE);  // refused without harm where huge pages are off
#endif
  // The system hands out most pages when they are first written to, which takes longer than the writing: every thread
  // writes some.
  char* memory = reinterpret_cast<char*>(memory_.get());
  cpu::parallel_blocks(bytes, 2 * kHugePage,
                       [&](size_t begin, size_t end) { std::memset(memory + begin, 0, end - begin); });
}

void Buffer::Free::operator()(float* p) const { std::free(p); }
