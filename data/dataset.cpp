#include "data/dataset.h"

#include <algorithm>
#include <filesystem>
#include <vector>

#include "data/error.h"
#include "data/sha256.h"
#include "data/tokens_json.h"

namespace {

namespace fs = std::filesystem;

std::string file_name(const std::string& path) { return fs::path(path).filename().string(); }

// The files *<split>*.bin of a folder by split, each list in name order. Error if one fits two splits.
std::map<std::string, std::vector<std::string>> find_files(const std::string& directory) {
  std::map<std::string, std::vector<std::string>> files;
  for (const std::string& name : file_names(directory)) {
    if (!name.ends_with(".bin")) continue;
    std::string found;
    for (const char* split : {"train", "val", "test"}) {
      if (name.find(split) == std::string::npos) continue;
      if (!found.empty())
        throw Error("the name of '" + directory + "/" + name + "' contains both '" + found + "' and '" + split +
                    "'; a token file belongs to one of train, val and test");
      found = split;
      files[split].push_back(directory + "/" + name);
    }
  }
  return files;
}

// tokens.json decides; without it the caller's wish, or GPT-2's vocabulary for uint16 tokens.
void choose_vocabulary(Dataset& data, const std::optional<TokensJson>& json, const std::vector<std::string>& files,
                       int wanted, const std::string& wanted_name) {
  if (json && wanted != 0 && wanted != json->vocab_size)
    throw Error(wanted_name + " is " + std::to_string(wanted) + ", but '" + data.directory + "/tokens.json' says " +
                std::to_string(json->vocab_size) + "; it must be that");
  data.vocab_size = json ? json->vocab_size : wanted;
  if (data.vocab_size != 0) return;
  for (const std::string& path : files)
    if (TokenFile(path).token_bytes() == 4)
      throw Error(wanted_name + " is needed: '" + path + "' holds uint32 tokens and '" + data.directory +
                  "' has no tokens.json that gives their vocabulary");
  data.vocab_size = kGpt2VocabSize;
  data.vocab_from_default = true;
}

// Hashes the files of a stream and compares with what prepare recorded.
void hash_files(Dataset& data, const std::optional<TokensJson>& json, const TokenStream& stream) {
  for (const std::string& path : stream.files()) {
    std::string name = file_name(path), hash = sha256_file(path);
    data.sha256[name] = hash;
    if (!json || json->sha256.empty()) continue;
    auto recorded = json->sha256.find(name);
    if (recorded == json->sha256.end())
      throw Error("'" + path + "' is not among the files that '" + data.directory +
                  "/tokens.json' lists; remove it, or keep it in another folder");
    if (recorded->second != hash)
      throw Error("'" + path + "' has changed since prepare wrote it (SHA-256 " + hash + " instead of " +
                  recorded->second + "); run build/prepare again");
  }
}

void copy_facts(Dataset& data, const TokensJson& json) {
  data.tokenizer = json.tokenizer;
  data.task = json.task;
  data.source = printable(shortened(json.source, 200));
  data.bytes = json.bytes;
  data.unexpected_text = json.expected == false;
}

std::string prepare_command(const std::string& directory) { return "build/prepare --corpus kjv --out " + directory; }

}  // namespace

const TokenStream& Dataset::split(const std::string& name) const {
  if (name != "train" && name != "val" && name != "test")
    throw Error("split '" + name + "' is unknown; allowed are train, val and test");
  const TokenStream& stream = name == "train" ? train : name == "val" ? val : test;
  if (stream.empty()) throw Error("'" + directory + "' has no tokens for the split " + name);
  return stream;
}

uint64_t Dataset::bytes_in(const std::string& name) const {
  auto found = bytes.find(name);
  return found == bytes.end() ? 0 : found->second;
}

Dataset load_dataset(const std::string& directory, int vocab_size, const std::string& vocab_name) {
  std::error_code ignored;
  if (!fs::is_directory(directory, ignored))
    throw Error("'" + directory + "' is no folder of token files; make one with " + prepare_command(directory));
  auto files = find_files(directory);
  for (const char* split : {"train", "val"})
    if (files[split].empty())
      throw Error("'" + directory + "' has no token file *" + split + "*.bin; make one with " +
                  prepare_command(directory));

  Dataset data;
  data.directory = directory;
  auto json = read_tokens_json(directory);
  std::vector<std::string> all;
  for (const auto& [split, paths] : files) all.insert(all.end(), paths.begin(), paths.end());
  choose_vocabulary(data, json, all, vocab_size, vocab_name);
  if (json) copy_facts(data, *json);
  for (auto [name, stream] : {std::pair{"train", &data.train}, {"val", &data.val}, {"test", &data.test}}) {
    *stream = TokenStream(files[name], data.vocab_size);
    hash_files(data, json, *stream);
    if (data.tokenizer == "bytes" && !stream->empty()) data.bytes[name] = stream->size();
  }
  return data;
}

Dataset load_token_file(const std::string& path, int vocab_size, const std::string& vocab_name) {
  Dataset data;
  data.directory = fs::path(path).has_parent_path() ? fs::path(path).parent_path().string() : ".";
  auto json = read_tokens_json(data.directory);
  choose_vocabulary(data, json, {path}, vocab_size, vocab_name);
  if (json) copy_facts(data, *json);
  data.bytes.clear();  // they are those of the folder's splits
  data.val = TokenStream({path}, data.vocab_size);
  hash_files(data, json, data.val);
  if (data.tokenizer == "bytes") data.bytes["val"] = data.val.size();
  return data;
}
