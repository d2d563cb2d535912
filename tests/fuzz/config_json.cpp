// Input: a config.json.
#include "data/strict_json.h"
#include "tests/fuzz/fuzz.h"
#include "train/checkpoint_json.h"

void fuzz_config_json(std::string_view input) {
  using Json = nlohmann::ordered_json;
  Config config;
  if (!accepts([&] { config = config_from_json(parse_strict_json<Json>(input, "'F'"), "'F'"); })) return;
  require(accepts([&] { check_config(config); }), "a model that is accepted can be built");
  const std::string written = config_to_json(config).dump();
  require(config_from_json(parse_strict_json<Json>(written, "'F'"), "'F'") == config, "a model is read as written");
}
