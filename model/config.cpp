#include "model/config.h"

#include "data/error.h"

namespace {
constexpr const char* kPositionNames[] = {"learned", "rope", "alibi", "none"};
constexpr long long kMostParameters = 1LL << 40;
}  // namespace

const char* position_name(Position position) { return kPositionNames[static_cast<int>(position)]; }

Position position_from_name(const std::string& name) {
  for (int i = 0; i < 4; i++)
    if (name == kPositionNames[i]) return static_cast<Position>(i);
  throw Error("position " + quoted(name) + " is unknown; allowed are learned, rope, alibi and none");
}

void require_learned_lengths(const Config& config, size_t seq_len, const std::string& owner) {
  if (!config.bound_to_length() || seq_len <= size_t(config.T)) return;
  const std::string most = std::to_string(config.T);
  throw Error("--seq-len is " + std::to_string(seq_len) + ", but " +
              (config.position == Position::kLearned
                   ? owner + " has learned positions for " + most + " tokens"
                   : config.normalizer + " in " + owner + " has a scale for each of " + most + " context sizes") +
              "; use at most that");
}

void check_config(const Config& config) {
  auto positive = [](const char* name, long long value, long long most) {
    if (value < 1 || value > most)
      throw Error(std::string(name) + " is " + std::to_string(value) + "; it must lie between 1 and " +
                  std::to_string(most));
  };
  positive("the number of layers", config.L, 10000);
  positive("the number of heads", config.NH, 10000);
  positive("the number of channels", config.C, 1 << 20);
  positive("the sequence length", config.T, 1 << 24);
  positive("the vocabulary size", config.V, 1 << 24);
  if (config.C % config.NH != 0)
    throw Error("the number of heads (" + std::to_string(config.NH) + ") must divide the number of channels (" +
                std::to_string(config.C) + ")");
  if (config.position == Position::kRope && config.HS() % 2 != 0)
    throw Error("RoPE rotates pairs of channels, so the head size must be even; " + std::to_string(config.C) +
                " channels in " + std::to_string(config.NH) + " heads give " + std::to_string(config.HS()));
  if (config.position == Position::kRope && !(config.rope_theta > 0))
    throw Error("the RoPE base is " + std::to_string(config.rope_theta) + "; it must be above 0");
  long long per_layer = 12LL * config.C * config.C + 13LL * config.C;
  if (config.L > kMostParameters / per_layer)
    throw Error("the model would have more than 2^40 parameters; reduce --layers or --channels");
}
