// The arrays of a training step by name, and the first number in them that is not finite.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/check.h"
#include "model/activations.h"
#include "model/backend.h"
#include "model/parameters.h"
#include "train/nonfinite.h"

struct NamedArray {
  std::string name;
  std::vector<size_t> shape;
  const void* start;
  bool stored;           // of S, otherwise of floats
  bool has_rows;         // its first dimension is the rows of a batch
  bool reused;           // by every layer
  const void* argument;  // what kernels are given: start, unless it continues the array before it

  size_t size() const {
    size_t n = 1;
    for (size_t d : shape) n *= d;
    return n;
  }
};

struct FoundNumber {
  NamedArray array;
  size_t index;
  float value;
  std::optional<int> layer;
};

// What the forward and, with `training`, the backward write for B x T tokens, in their order; `block` was made for
// most_B x most_T. Not the tokens, nor the normalizer's rows: they may hold infinities by design.
template <class S>
std::vector<NamedArray> activation_arrays(const Config& config, int row_words, size_t most_B, size_t most_T, size_t B,
                                          size_t T, bool training, const float* block) {
  constexpr std::string_view kLeftOut[] = {"tokens", "targets"}, kConstant[] = {"rope", "slopes"};
  constexpr std::string_view kReused[] = {"branch", "dstream", "d_c", "d_qkv", "d_fc"};
  auto is_one_of = [](const auto& names, const std::string& name) {
    return std::find(std::begin(names), std::end(names), name) != std::end(names);
  };
  std::vector<NamedArray> arrays;
  for (const ActivationTensor& tensor : activation_tensors<S>(config, row_words, most_B, most_T, training)) {
    if (is_one_of(kLeftOut, tensor.name) || tensor.name.ends_with(".attn.rows")) continue;
    const bool has_rows = !is_one_of(kConstant, tensor.name);
    const size_t width = tensor.size / (most_B * most_T);
    std::vector<size_t> shape = {tensor.size};
    if (has_rows) shape = width == 1 ? std::vector{B, T} : std::vector{B, T, width};
    const float* start = block + tensor.offset;
    arrays.push_back({tensor.name, shape, start, tensor.stored, has_rows, is_one_of(kReused, tensor.name), start});
  }
  return arrays;
}

// The tensors of a block laid out as the parameters; `prefix` and `suffix` say what it holds of them.
template <class Number>
std::vector<NamedArray> parameter_arrays(const std::vector<Tensor>& tensors, const std::string& prefix,
                                         const std::string& suffix, const Number* block) {
  std::vector<NamedArray> arrays;
  for (const Tensor& tensor : tensors) {
    const Number* start = block + tensor.offset;
    const void* argument = tensor.continues ? arrays.back().argument : start;
    const bool stored = !std::is_same_v<Number, float>;
    arrays.push_back({prefix + tensor.name + suffix, tensor.shape, start, stored, false, false, argument});
  }
  return arrays;
}

template <class S>
size_t first_nonfinite(const NamedArray& array) {
  return array.stored ? backend::first_nonfinite(static_cast<const S*>(array.start), array.size())
                      : backend::first_nonfinite(static_cast<const float*>(array.start), array.size());
}

template <class S>
float number_at(const NamedArray& array, size_t index) {
  std::vector<float> room;
  return array.stored ? *backend::to_host(room, static_cast<const S*>(array.start) + index, 1)
                      : *backend::to_host(room, static_cast<const float*>(array.start) + index, 1);
}

// The first such number of the first array that holds one.
template <class S>
std::optional<FoundNumber> find_nonfinite(const std::vector<NamedArray>& arrays) {
  for (const NamedArray& array : arrays) {
    const size_t index = first_nonfinite<S>(array);
    if (index < array.size()) return FoundNumber{array, index, number_at<S>(array, index), layer_of(array.name)};
  }
  return std::nullopt;
}

// Looks through what kernels write, one after the other in a forward or a backward; arguments and `written` as a
// KernelObserver gets them.
template <class S>
class OutputSearch {
 public:
  // Of `known`, whose order decides which of a kernel's outputs comes first, and no other arrays.
  explicit OutputSearch(std::vector<NamedArray> known) : known_(std::move(known)) {}

  // Of arrays that every layer reuses, the layer is that of the last other array of a layer that kernels were given.
  std::optional<FoundNumber> operator()(std::span<const void* const> arguments, size_t written) {
    for (const NamedArray& array : among(arguments))
      if (const auto layer = layer_of(array.name)) layer_ = layer;
    auto found = find_nonfinite<S>(among(arguments.first(written)));
    if (found && found->array.reused) found->layer = layer_;
    return found;
  }

 private:
  std::vector<NamedArray> among(std::span<const void* const> arguments) const {
    std::vector<NamedArray> arrays;
    for (const NamedArray& array : known_)
      if (std::find(arguments.begin(), arguments.end(), array.argument) != arguments.end()) arrays.push_back(array);
    return arrays;
  }

  std::vector<NamedArray> known_;
  std::optional<int> layer_;
};
