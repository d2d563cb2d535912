// Input: a file for train's --config, such as the options.ini of a run.
#include "tests/fuzz/fuzz.h"
#include "tests/temp_dir.h"
#include "train/command_line.h"
#include "train/options.h"

#include <nlohmann/json.hpp>

namespace {

TrainOptions read_options(const std::string& path) {
  const char* words[] = {"train", "--config", path.c_str()};
  return parse_train_options(3, words, "softmax");
}

}  // namespace

void fuzz_config_file(std::string_view input) {
  const std::string path = sandbox() + "/given.ini", again = sandbox() + "/options.ini";
  write_file(path, std::string(input));
  TrainOptions options;
  if (!accepts([&] { options = read_options(path); })) return;
  write_options_ini(again, options);
  require(options_to_json(read_options(again)) == options_to_json(options), "options.ini repeats the run");
}
