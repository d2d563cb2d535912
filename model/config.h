// The shape of a GPT and everything that changes its mathematics. Letters as everywhere: T sequence length, C channels,
// L layers, NH heads, HS = C / NH head size, V vocabulary.
#pragma once

#include <cstddef>
#include <string>

enum class Position { kLearned, kRope, kAlibi, kNone };

struct Config {
  int L = 4;
  int NH = 4;
  int C = 128;
  int T = 256;  // longest sequence in training; where bound_to_length() also the longest that can be evaluated
  int V = 256;
  Position position = Position::kRope;
  double rope_theta = 10000;
  bool tied = true;                    // the head is the token embedding
  std::string normalizer = "softmax";  // a name of kernels/normalizer/normalizer.h
  int normalizer_params = 0;           // learned scalars per layer and head: 0, 1 (scale) or 2 (scale, bias)
  bool length_scale = false;           // whether the normalizer has a learned scale for each number of keys, 1 .. T

  int HS() const { return C / NH; }
  // Whether something is learned for each of T lengths, so that there is nothing for more.
  bool bound_to_length() const { return position == Position::kLearned || length_scale; }
  bool operator==(const Config&) const = default;
};

// "learned", "rope", "alibi", "none", as on the command line and in config.json.
const char* position_name(Position position);
Position position_from_name(const std::string& name);  // Error for any other name

// Error where something is learned for each of T lengths, and sequences are longer. `owner` has it: "the model".
void require_learned_lengths(const Config& config, size_t seq_len, const std::string& owner);

// Error unless every size is positive, heads divide channels, RoPE has an even head size and nothing overflows.
void check_config(const Config& config);
