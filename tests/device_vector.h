// Numbers that both the tests and the kernels of either backend touch, in the precision that the test program is
// compiled for: P = ATTNORM_TEST_PRECISION, and S, what activations and matrices are stored in (kernels/precision.h).
//
//   backend  precision  P     S       DeviceVector
//   cpu      fp32       fp32  float   std::vector
//   cuda     fp32       fp32  float   std::vector in managed memory
//   cuda     bf16       bf16  bf16    std::vector in managed memory
//
// A reference starts from what the kernel reads, that is from numbers that S can hold: see random_stored.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string_view>
#include <type_traits>
#include <vector>

#include "kernels/precision.h"
#include "model/backend.h"
#include "tests/compare.h"

#ifndef ATTNORM_TEST_PRECISION
#define ATTNORM_TEST_PRECISION fp32
#endif
using P = ATTNORM_TEST_PRECISION;
using S = backend::Storage<P>;

// Memory of the GPU that the host may touch too, while no kernel runs.
template <class T>
struct ManagedAllocator {
  using value_type = T;
  ManagedAllocator() = default;
  template <class U>
  ManagedAllocator(const ManagedAllocator<U>&) {}
  T* allocate(size_t n) { return static_cast<T*>(cuda::allocate_managed(n * sizeof(T))); }
  void deallocate(T* memory, size_t) { cuda::release_managed(memory); }
  friend bool operator==(ManagedAllocator, ManagedAllocator) { return true; }
};

template <class T>
using DeviceVector = std::vector<T, std::conditional_t<backend::kOnHost, std::allocator<T>, ManagedAllocator<T>>>;

// Waits for the kernels; from then on the host sees what they wrote.
inline void wait_for_kernels() {
  if constexpr (!backend::kOnHost) cuda::synchronize();
}

// x, each number rounded to T.
template <class T, class Number>
DeviceVector<T> device(const std::vector<Number>& x) {
  DeviceVector<T> result(x.size());
  std::transform(x.begin(), x.end(), result.begin(), [](Number number) { return round_to<T>(float(number)); });
  return result;
}

// n times NaN: memory that a kernel is to overwrite.
template <class T>
DeviceVector<T> device_nan(size_t n) {
  return DeviceVector<T>(n, round_to<T>(kNaN));
}

// What kernels left in x.
template <class T>
std::vector<float> host(const DeviceVector<T>& x) {
  wait_for_kernels();
  std::vector<float> result(x.size());
  std::transform(x.begin(), x.end(), result.begin(), [](T number) { return to_float(number); });
  return result;
}

template <class T>
const T* data_or_null(const DeviceVector<T>& x) {
  return x.empty() ? nullptr : x.data();
}

// --- numbers that S can hold ----------------------------------------------------------------------------------------

inline constexpr bool kStoredExactly = std::is_same_v<S, float>;

template <class Number>
Number as_stored(Number x) {
  return Number(to_float(round_to<S>(float(x))));
}

// x, each number rounded to T and back.
template <class T>
std::vector<double> rounded_to(std::vector<double> x) {
  for (double& number : x) number = to_float(round_to<T>(float(number)));
  return x;
}

// As random_vector: what a kernel reads from memory of type S.
inline std::vector<double> random_stored(std::string_view name, size_t n, double sd = 1, double mean = 0) {
  return rounded_to<S>(random_vector(name, n, sd, mean));
}

// By how much a number changes at most, relatively, where a kernel stores it; fp32's is part of every tolerance.
inline constexpr double kStoring = kStoredExactly ? 0 : 0x1p-8;

// The tolerance for what a kernel computes within `t` and then stores, `times` times on the way.
inline Tolerance stored(Tolerance t, double times = 1) {
  return {t.norm + times * kStoring, t.largest + times * kStoring};
}
