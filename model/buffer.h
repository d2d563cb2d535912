// Memory of the host: one zeroed block of floats, aligned for SIMD and, where the system offers them, on huge pages.
#pragma once

#include <cstddef>
#include <memory>

class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(
      size_t floats);  // Failure if the system refuses; sizes are checked against free memory before (train/memory.h)

  float* data() const { return memory_.get(); }
  size_t size() const { return size_; }

  // Calls write(x) for a block x of size() zeros that the host may write to; what it writes is the content.
  template <class Write>
  void fill(Write write) {
    write(data());
  }

 private:
  struct Free {
    void operator()(float* p) const;
  };
  std::unique_ptr<float, Free> memory_;
  size_t size_ = 0;
};

// Every tensor starts on a multiple of 64 bytes: a cache line, and one AVX-512 register.
inline constexpr size_t kAlignFloats = 16;
inline size_t aligned(size_t floats) { return (floats + kAlignFloats - 1) / kAlignFloats * kAlignFloats; }
