#include "data/tokens_json.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "data/atomic_file.h"
#include "data/error.h"

namespace {

using Json = nlohmann::ordered_json;

std::string json_path(const std::string& directory) { return directory + "/tokens.json"; }

// The value of `key`, left alone if there is none.
template <class T>
void read_key(const Json& json, const char* key, T& value) {
  if (json.contains(key)) value = json[key].get<T>();
}

TokensJson from_json(const Json& json) {
  TokensJson content;
  read_key(json, "vocab_size", content.vocab_size);
  read_key(json, "tokenizer", content.tokenizer);
  read_key(json, "bytes", content.bytes);
  read_key(json, "source", content.source);
  read_key(json, "source_sha256", content.source_sha256);
  if (json.contains("expected")) content.expected = json["expected"].get<bool>();
  read_key(json, "block_bytes", content.block_bytes);
  read_key(json, "sha256", content.sha256);
  return content;
}

}  // namespace

std::optional<TokensJson> read_tokens_json(const std::string& directory) {
  std::string path = json_path(directory);
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return std::nullopt;
  std::ifstream file(path);
  if (!file) throw Error("'" + path + "' cannot be read");
  TokensJson content;
  try {
    content = from_json(Json::parse(file));
  } catch (const Json::exception& error) {
    throw Error("'" + path + "' is not as prepare writes it: " + error.what());
  }
  if (content.vocab_size < 1)
    throw Error("'" + path + "' must give vocab_size as an integer above 0, the number of different tokens");
  return content;
}

void write_tokens_json(const std::string& directory, const TokensJson& content) {
  Json json = {{"tokenizer", content.tokenizer},
               {"vocab_size", content.vocab_size},
               {"bytes", content.bytes},
               {"source", content.source},
               {"source_sha256", content.source_sha256}};
  if (content.expected) json["expected"] = *content.expected;
  json["split"] = "block i of block_bytes bytes: val if i mod 10 = 9, test if i mod 20 = 4, else train";
  json["block_bytes"] = content.block_bytes;
  json["sha256"] = content.sha256;
  write_file_atomically(json_path(directory), json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

std::vector<std::string> file_names(const std::string& directory) {
  std::error_code problem;
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory, problem))
    names.push_back(entry.path().filename().string());
  if (problem) throw Error("folder '" + directory + "' cannot be read: " + problem.message());
  std::sort(names.begin(), names.end());
  return names;
}
