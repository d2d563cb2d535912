// What is said of the first number of a run that is not finite: where it lies, and which tokens the model was reading.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

// The rows that a forward and a backward work on: parts of a split's tokens.
struct TokenRows {
  std::string split;               // "train" or "val"
  std::vector<uint64_t> begins;    // of each row: its first token's place in the split, from 0
  size_t length = 0;               // tokens the model reads in a row; each predicts the next, so the split has one more
  std::optional<uint64_t> epoch;   // of training rows, from 0
  std::optional<int> micro_batch;  // of training rows, from 0; none where they are those of a whole update
};

// A number that is NaN or infinite, the first of its array.
struct NonFinite {
  uint64_t step;     // updates done, this one included
  std::string what;  // is not finite: "loss", "gradient", "output of gelu_forward"
  std::string tensor;
  std::optional<int> layer;
  std::vector<size_t> shape;  // of the tensor
  size_t index;
  float value;
  TokenRows rows;
  std::optional<size_t> row;  // of `rows`, where the tensor has its own numbers for each
};

// NaN, infinity or -infinity.
std::string value_text(float value);

// The layer in a name such as h.3.attn.qkv; none in others.
std::optional<int> layer_of(const std::string& tensor);

// Where an index lies in an array of this shape: one coordinate for each dimension, the last running fastest.
std::vector<size_t> coordinates(size_t index, const std::vector<size_t>& shape);

// "update 7: the loss is not finite: the first such number is NaN in layer 3, tensor h.3.attn.qkv at (0, 5, 17), index
// 1937; row 0 of micro-batch 1 in epoch 0 is tokens 320 to 351 of the training data"
std::string sentence(const NonFinite& found);

// The record `nonfinite` of the metrics.
nlohmann::ordered_json to_json(const NonFinite& found);
