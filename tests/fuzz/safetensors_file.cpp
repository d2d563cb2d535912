// Input: a file model.safetensors; or one without the length at its start where it starts with '{': the header ends at
// the first zero byte, and the length is put before it.
#include <cstring>
#include <filesystem>

#include "model/buffer.h"
#include "model/parameters.h"
#include "tests/fuzz/fuzz.h"
#include "tests/temp_dir.h"
#include "train/checkpoint.h"
#include "train/safetensors.h"

namespace {

Config tiny_config() {
  Config config;
  config.L = 1;
  config.NH = 1;
  config.C = 2;
  config.T = 2;
  config.V = 2;
  config.position = Position::kLearned;
  config.normalizer = "ssmax";
  config.normalizer_params = 1;
  return config;
}

std::string with_length(std::string_view input) {
  if (!input.starts_with('{')) return std::string(input);
  const std::string_view header = take_until(input, std::string_view("\0", 1));
  const uint64_t length = header.size();
  std::string file(reinterpret_cast<const char*>(&length), sizeof length);
  return file.append(header).append(input);
}

// Whatever is read whole is the same in two pieces.
void read_every_tensor(const SafetensorsFile& file, size_t file_bytes) {
  for (const std::string& name : file.names()) {
    const size_t size = file.size(name);
    if (!accepts([&] { file.check_readable(name); })) continue;
    require(size <= file_bytes / 2, "a tensor is not larger than its file");
    std::vector<float> whole(size), parts(size);
    file.read(name, whole.data());
    file.read(name, 0, size / 2, parts.data());
    file.read(name, size / 2, size - size / 2, parts.data() + size / 2);
    require(size == 0 || std::memcmp(whole.data(), parts.data(), size * sizeof(float)) == 0, "parts make the whole");
    require(!accepts([&] { file.read(name, size, 1, whole.data()); }), "nothing is read behind a tensor's end");
  }
}

}  // namespace

void fuzz_safetensors_file(std::string_view input) {
  const std::string bytes = with_length(input), path = sandbox() + "/model.safetensors";
  const std::string optimizer = sandbox() + "/optimizer.safetensors";
  write_file(path, bytes);
  std::error_code exists_already;
  std::filesystem::create_hard_link(path, optimizer, exists_already);

  accepts([&] { read_every_tensor(SafetensorsFile(path), bytes.size()); });

  const Config config = tiny_config();
  Buffer block(parameter_floats(config)), moments(parameter_floats(config));
  for (LoadMode mode : {LoadMode::kExact, LoadMode::kAdapt}) {
    accepts([&] {
      for (const std::string& line : load_parameters(sandbox(), config, block.data(), mode)) require_sentence(line);
    });
    accepts([&] { load_optimizer(sandbox(), config, block.data(), moments.data(), mode); });
  }
}
