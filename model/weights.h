// The parameters of a model as its kernels and its optimizer need them: fp32 masters and, where matrices are stored in
// bf16, a rounded copy.
#pragma once

#include <type_traits>
#include <utility>

#include "kernels/adamw.h"
#include "model/backend.h"
#include "model/parameters.h"

template <class S>
class Weights {
 public:
  Weights() = default;
  explicit Weights(const Config& config)
      : master_(parameter_floats(config)), copy_(kCopied ? (master_.size() * sizeof(S) + 3) / sizeof(float) : 0) {
    view_ = view_parameters<S>(config, stored(), master_.data());
  }

  // A block as parameter_tensors() lays it out; what AdamW updates, and what checkpoints hold.
  float* master() const { return master_.data(); }
  size_t size() const { return master_.size(); }

  // What the kernels read: the matrices in S, laid out alike. In fp32 that is the master block itself.
  S* stored() const {
    if constexpr (kCopied)
      return reinterpret_cast<S*>(copy_.data());
    else
      return master_.data();
  }
  const Parameters<S>& view() const { return view_; }

  // Calls write(x) for a block of zeros of the host; what it writes is the content. To be called once.
  template <class Write>
  void fill(Write write) {
    master_.fill(write);
    if constexpr (kCopied) cuda::round_parameters(stored(), master(), size());
  }

  static constexpr bool kCopied = !std::is_same_v<S, float>;

 private:
  backend::Memory master_, copy_;
  Parameters<S> view_{};
};
