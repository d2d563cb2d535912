// Input: a trainer_state.json.
#include "data/strict_json.h"
#include "tests/fuzz/fuzz.h"
#include "train/checkpoint_json.h"
#include "train/options.h"

namespace {

using Json = nlohmann::ordered_json;

TrainerState parse(std::string_view text) {
  return trainer_state_from_json(parse_strict_json<Json>(text, "'F'"), "'F'");
}

}  // namespace

void fuzz_trainer_state(std::string_view input) {
  TrainerState state;
  if (!accepts([&] { state = parse(input); })) return;
  require(parse(trainer_state_to_json(state).dump()) == state, "a state is read as written");

  TrainOptions options;
  if (!accepts([&] { options = options_from_json(state.options, "'F'"); })) return;
  const Json saved = options_to_json(options);
  require(options_to_json(options_from_json(saved, "'F'")) == saved, "options are read as written");
  TrainOptions resumed;
  if (!accepts([&] { resumed = merge_resume(options, options); })) return;
  require(options_to_json(resumed) == saved, "a run goes on with its own options");
}
