#include "train/checkpoint_json.h"

#include <algorithm>
#include <iterator>

#include "data/error.h"
#include "data/json_members.h"
#include "data/strict_json.h"
#include "kernels/normalizer/normalizer.h"

namespace {

using Json = nlohmann::ordered_json;

// clang-format off
constexpr const char* kConfigKeys[] = {
    "model_type", "n_layer", "n_head", "n_embd", "n_positions", "vocab_size", "position", "rope_theta", "normalizer",
    "tie_word_embeddings", "n_inner", "layer_norm_epsilon", "activation_function", "scale_attn_weights"};

// Keys that Hugging Face writes for a GPT-2 and that leave its forward as it is.
constexpr const char* kHarmlessKeys[] = {
    // dropout, which attnorm never applies, and other matters of training
    "attn_pdrop", "embd_pdrop", "resid_pdrop", "classifier_dropout", "initializer_range", "gradient_checkpointing",
    // how attention is ordered in time or memory
    "reorder_and_upcast_attn", "use_cache", "n_ctx", "chunk_size_feed_forward", "is_decoder", "_attn_implementation",
    "attn_implementation",
    // other tasks than language modelling
    "summary_activation", "summary_first_dropout", "summary_proj_to_labels", "summary_type", "summary_use_proj",
    "task_specific_params", "problem_type", "num_labels", "_num_labels", "id2label", "label2id", "finetuning_task",
    "predict_special_tokens", "n_special", "output_past", "output_attentions", "output_hidden_states", "output_scores",
    "return_dict", "return_dict_in_generate",
    // token ids and the writing of text
    "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "unk_token_id", "decoder_start_token_id",
    "forced_bos_token_id", "forced_eos_token_id", "temperature", "top_k", "top_p", "typical_p", "do_sample",
    "num_beams", "num_beam_groups", "diversity_penalty", "early_stopping", "length_penalty", "max_length",
    "min_length", "max_new_tokens", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "repetition_penalty",
    "bad_words_ids", "begin_suppress_tokens", "suppress_tokens", "exponential_decay_length_penalty",
    "num_return_sequences", "remove_invalid_values", "prefix", "tokenizer_class",
    // who wrote it, how it is stored
    "architectures", "auto_map", "torch_dtype", "dtype", "torchscript", "use_bfloat16", "tf_legacy_loss",
    "_name_or_path", "_commit_hash", "transformers_version"};
// clang-format on

template <class List>
bool contains(const List& list, const std::string& name) {
  return std::find(std::begin(list), std::end(list), name) != std::end(list);
}

bool is_switched_off(const Json& value) {
  return value.is_null() || value == Json(false) || (value.is_number() && value == 0) ||
         (!value.is_primitive() && value.empty()) || value == Json("");
}

// Sets the fields that belong to the normalizer.
void set_normalizer(Config& config, const std::string& name, const std::string& file) {
  config.normalizer = name;
#define ATTNORM_LEARNED(its_name, ...)                   \
  if (name == #its_name) {                               \
    config.normalizer_params = named::its_name::params;  \
    config.length_scale = named::its_name::length_scale; \
    return;                                              \
  }
  EVERY_NORMALIZER(ATTNORM_LEARNED)
#undef ATTNORM_LEARNED
#define ATTNORM_NAME(its_name, ...) " " #its_name
  throw Error(file + " has the unknown normalizer " + quoted(name) + "; known are" EVERY_NORMALIZER(ATTNORM_NAME));
#undef ATTNORM_NAME
}

// What Hugging Face's GPT-2 computes, whatever the sizes.
bool is_gpt2(const Config& config) {
  return config.normalizer == "softmax" && config.position == Position::kLearned && config.tied;
}

// The keys that must hold what the kernels compute. Hugging Face's defaults, valid where a key is missing, do.
void check_mathematics(const JsonMembers& json, const Config& config) {
  if (json.has("activation_function") && json.at("activation_function") != "gelu_new" &&
      json.at("activation_function") != "gelu_pytorch_tanh")
    throw json.bad("activation_function", "gelu_new or gelu_pytorch_tanh");
  if (json.has("layer_norm_epsilon") && json.at("layer_norm_epsilon") != 1e-5)
    throw json.bad("layer_norm_epsilon", "1e-05");
  if (json.has("n_inner") && !json.at("n_inner").is_null() && json.at("n_inner") != 4LL * config.C)
    throw json.bad("n_inner", "null or 4 n_embd, which is " + std::to_string(4LL * config.C));
  if (json.has("scale_attn_weights") && json.at("scale_attn_weights") != true)
    throw json.bad("scale_attn_weights", "true");
}

}  // namespace

// --- config.json -----------------------------------------------------------------------------------------------------

Json config_to_json(const Config& config) {
  return {{"architectures", {is_gpt2(config) ? "GPT2LMHeadModel" : "AttnormGPT"}},
          {"model_type", is_gpt2(config) ? "gpt2" : "attnorm-gpt"},
          {"n_layer", config.L},
          {"n_head", config.NH},
          {"n_embd", config.C},
          {"n_positions", config.T},
          {"vocab_size", config.V},
          {"position", position_name(config.position)},
          {"rope_theta", config.rope_theta},
          {"tie_word_embeddings", config.tied},
          {"normalizer", config.normalizer},
          {"layer_norm_epsilon", 1e-5},
          {"activation_function", "gelu_new"}};
}

Config config_from_json(const Json& object, const std::string& file) {
  JsonMembers json(object, file);
  const std::string type = json.text("model_type");
  if (type != "gpt2" && type != "attnorm-gpt") throw json.bad("model_type", "gpt2 or attnorm-gpt");
  const bool gpt2 = type == "gpt2";

  Config config;
  config.L = json.positive_int("n_layer");
  config.NH = json.positive_int("n_head");
  config.C = json.positive_int("n_embd");
  config.T = json.positive_int("n_positions");
  config.V = json.positive_int("vocab_size");
  // What makes a model another than GPT-2 must be said, except in a config.json of GPT-2 itself.
  auto said = [&](const char* key) { return !gpt2 || json.has(key); };
  set_normalizer(config, said("normalizer") ? json.text("normalizer") : "softmax", file);
  const std::string position = said("position") ? json.text("position") : "learned";
  if (said("tie_word_embeddings")) config.tied = json.boolean("tie_word_embeddings");
  if (json.has("rope_theta")) config.rope_theta = json.number("rope_theta");
  try {
    config.position = position_from_name(position);
    check_config(config);
  } catch (const Error& error) {
    throw Error(file + ": " + error.what());
  }
  if (gpt2 && config.normalizer != "softmax") throw json.bad("normalizer", "softmax where model_type is gpt2");
  if (gpt2 && config.position != Position::kLearned) throw json.bad("position", "learned where model_type is gpt2");

  check_mathematics(json, config);
  for (const auto& [key, value] : object.items())
    if (!contains(kConfigKeys, key) && !contains(kHarmlessKeys, key) && !is_switched_off(value))
      throw Error(file + " has " + quoted(key) + " = " + shown(value) +
                  ", which this program does not know and which may change what the model computes");
  return config;
}

// --- trainer_state.json ----------------------------------------------------------------------------------------------

Json trainer_state_to_json(const TrainerState& state) {
  return {{"schema", TrainerState::kSchema}, {"step", state.step},
          {"tokens", state.tokens},          {"seed", state.seed},
          {"data_seed", state.data_seed},    {"data_sha256", state.data_sha256},
          {"options", state.options}};
}

TrainerState trainer_state_from_json(const Json& object, const std::string& file) {
  JsonMembers json(object, file);
  if (json.natural("schema") != TrainerState::kSchema)
    throw json.bad("schema", std::to_string(TrainerState::kSchema) + ", the one this program reads");
  TrainerState state;
  state.step = json.natural("step");
  state.tokens = json.natural("tokens");
  state.seed = json.natural("seed");
  state.data_seed = json.natural("data_seed");
  state.data_sha256 = json.sums("data_sha256");
  state.options = json.at("options");
  if (!state.options.is_object()) throw json.bad("options", "an object of options by name");
  for (const auto& [key, value] : object.items())
    if (!trainer_state_to_json({}).contains(key))
      throw Error(file + " has the key " + quoted(key) + ", which schema " + std::to_string(TrainerState::kSchema) +
                  " does not have");
  return state;
}
