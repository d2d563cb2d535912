// The two JSON files of a checkpoint, as values.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "model/config.h"

// --- config.json -----------------------------------------------------------------------------------------------------

nlohmann::ordered_json config_to_json(const Config& config);

// Reads config.json of attnorm or of a GPT-2 as Hugging Face writes it. `file` begins the messages, "'X/config.json'".
// Error for a missing or impossible size, another model_type, and every key that would change the mathematics, by name:
// another activation, epsilon or MLP width, scores scaled otherwise, cross-attention, pruned heads, quantized weights.
// Keys without influence on a forward (dropout, token ids, text generation, the writer's version...) are ignored, and
// so is an unknown key that is null, false, 0 or empty: switched off. Any other unknown key is an Error.
Config config_from_json(const nlohmann::ordered_json& json, const std::string& file);

// --- trainer_state.json ----------------------------------------------------------------------------------------------

struct TrainerState {
  static constexpr int kSchema = 1;

  uint64_t step = 0;    // finished updates
  uint64_t tokens = 0;  // trained on so far
  uint64_t seed = 0, data_seed = 0;
  std::map<std::string, std::string> data_sha256;                     // by token file
  nlohmann::ordered_json options = nlohmann::ordered_json::object();  // all of the run, as in its metrics

  bool operator==(const TrainerState&) const = default;
};

nlohmann::ordered_json trainer_state_to_json(const TrainerState& state);
// Error for a missing, surplus or ill-typed key and for another schema.
TrainerState trainer_state_from_json(const nlohmann::ordered_json& json, const std::string& file);
