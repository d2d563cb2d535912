#include "data/tokens_json.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "data/atomic_file.h"
#include "data/error.h"
#include "data/json_members.h"
#include "data/small_file.h"
#include "data/strict_json.h"

namespace {

using Json = nlohmann::ordered_json;

std::string json_path(const std::string& directory) { return directory + "/tokens.json"; }

}  // namespace

TokensJson parse_tokens_json(std::string_view text, const std::string& path) {
  const std::string file = "'" + path + "'";
  const Json object = parse_strict_json<Json>(text, file);
  const JsonMembers json(object, file);
  TokensJson content;
  content.vocab_size = json.positive_int("vocab_size");
  if (json.has("tokenizer")) content.tokenizer = json.text("tokenizer");
  if (json.has("task")) content.task = json.text("task");
  if (json.has("bytes")) content.bytes = json.naturals("bytes");
  if (json.has("source")) content.source = json.text("source");
  if (json.has("source_sha256")) content.source_sha256 = json.text("source_sha256");
  if (json.has("expected")) content.expected = json.boolean("expected");
  if (json.has("block_bytes")) content.block_bytes = json.natural("block_bytes");
  if (json.has("sha256")) content.sha256 = json.sums("sha256");
  return content;
}

std::string tokens_json_text(const TokensJson& content) {
  Json json = {{"tokenizer", content.tokenizer},
               {"vocab_size", content.vocab_size},
               {"bytes", content.bytes},
               {"source", content.source},
               {"source_sha256", content.source_sha256}};
  if (!content.task.empty()) json["task"] = content.task;
  if (content.expected) json["expected"] = *content.expected;
  json["split"] = "block i of block_bytes bytes: val if i mod 10 = 9, test if i mod 20 = 4, else train";
  json["block_bytes"] = content.block_bytes;
  json["sha256"] = content.sha256;
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::optional<TokensJson> read_tokens_json(const std::string& directory) {
  const std::string path = json_path(directory);
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return std::nullopt;
  return parse_tokens_json(read_small_file(path), path);
}

void write_tokens_json(const std::string& directory, const TokensJson& content) {
  write_file_atomically(json_path(directory), tokens_json_text(content));
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
