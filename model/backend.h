// Which backend the model runs on, the CPU or a GPU, and how the host reaches its memory. The kernels' names and contracts
// are the same in both; whatever includes this is compiled for one of them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/cpu/parallel.h"
#include "kernels/cuda/runtime.h"
#include "kernels/precision.h"
#include "model/buffer.h"

#ifndef ATTNORM_BACKEND
#define ATTNORM_BACKEND cpu
#endif
namespace cpu {}
namespace cuda {}
namespace backend = ATTNORM_BACKEND;

namespace cpu {

// The host's own memory.
using Memory = Buffer;
inline constexpr bool kOnHost = true;

// Where kernels find n tokens of the host; `room` has space for them where they must be copied.
inline const int32_t* to_kernels(int32_t*, const int32_t* tokens, size_t) { return tokens; }

// Where the host finds n numbers that kernels wrote, as floats; `room` takes them where they must be copied.
inline const float* to_host(std::vector<float>&, const float* x, size_t) { return x; }

// Overwrites x (n), memory of the kernels, with numbers of the host.
inline void overwrite(float* x, const float* from, size_t n) { std::copy_n(from, n, x); }

// Overwrites `to` (n), memory of the host, with numbers of the kernels, and returns it.
inline const float* copy_out(float* to, const float* x, size_t n) {
  parallel_blocks(n, size_t(1) << 18, [&](size_t begin, size_t end) { std::copy(x + begin, x + end, to + begin); });
  return to;
}

}  // namespace cpu

namespace cuda {

// A zeroed block of floats on the GPU.
class Memory {
 public:
  Memory() = default;
  explicit Memory(size_t floats) : memory_(static_cast<float*>(allocate(floats * sizeof(float)))), size_(floats) {
    fill_zero(memory_, size_ * sizeof(float));
  }
  Memory(Memory&& other) noexcept { *this = std::move(other); }
  Memory& operator=(Memory&& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Memory() { release(memory_); }

  float* data() const { return memory_; }
  size_t size() const { return size_; }

  // As Buffer's.
  template <class Write>
  void fill(Write write) {
    std::vector<float> host(size_);
    write(host.data());
    copy_to_device(memory_, host.data(), size_ * sizeof(float));
  }

 private:
  float* memory_ = nullptr;
  size_t size_ = 0;
};
inline constexpr bool kOnHost = false;

inline const int32_t* to_kernels(int32_t* room, const int32_t* tokens, size_t n) {
  copy_to_device(room, tokens, n * sizeof *tokens);
  return room;
}

template <class S>
const float* to_host(std::vector<float>& room, const S* x, size_t n) {
  std::vector<S> stored(n);
  copy_to_host(stored.data(), x, n * sizeof(S));
  room.resize(n);
  std::transform(stored.begin(), stored.end(), room.begin(), [](S element) { return to_float(element); });
  return room.data();
}
inline const float* to_host(std::vector<float>& room, const float* x, size_t n) {
  room.resize(n);
  copy_to_host(room.data(), x, n * sizeof(float));
  return room.data();
}

inline void overwrite(float* x, const float* from, size_t n) { copy_to_device(x, from, n * sizeof(float)); }

inline const float* copy_out(float* to, const float* x, size_t n) {
  copy_to_host(to, x, n * sizeof(float));
  return to;
}

}  // namespace cuda
