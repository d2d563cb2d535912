// Input: a token file; where it has more than the three numbers that its header starts with, the header's other 253,
// which are zero, are left out of the input.
#include <algorithm>
#include <cstring>
#include <filesystem>

#include "data/dataset.h"
#include "data/loader.h"
#include "data/token_file.h"
#include "tests/fuzz/fuzz.h"
#include "tests/temp_dir.h"

namespace {

constexpr size_t kGivenBytes = 3 * sizeof(int32_t);

std::string with_whole_header(std::string_view input) {
  std::string file(input);
  if (input.size() > kGivenBytes) file.insert(kGivenBytes, kTokenHeaderBytes - kGivenBytes, '\0');
  return file;
}

// The tokens as the format says.
std::vector<uint32_t> decoded(const std::string& file, int token_bytes) {
  std::vector<uint32_t> tokens((file.size() - kTokenHeaderBytes) / token_bytes);
  for (size_t i = 0; i < tokens.size(); i++)
    std::memcpy(&tokens[i], file.data() + kTokenHeaderBytes + i * token_bytes, token_bytes);
  return tokens;
}

void load_updates(const TokenStream& stream, int B, int T, Order order) {
  Loader loader(stream, B, T, 1, order, 7);
  require(loader.windows() * T + 1 <= stream.size(), "windows lie within the stream");
  std::vector<int32_t> inputs(size_t(B) * T), targets(size_t(B) * T);
  for (uint64_t update : {uint64_t(0), loader.updates_per_epoch() - 1, loader.updates_per_epoch(), uint64_t(1) << 40}) {
    loader.load(update, 0, inputs.data(), targets.data());
    for (int i = 0; i + 1 < B * T; i++)
      require((i + 1) % T == 0 || targets[i] == inputs[i + 1], "targets are the next inputs");
  }
}

}  // namespace

void fuzz_token_file(std::string_view input) {
  const std::string bytes = with_whole_header(input), train = sandbox() + "/train.bin", val = sandbox() + "/val.bin";
  write_file(train, bytes);
  std::error_code exists_already;
  std::filesystem::create_hard_link(train, val, exists_already);

  std::vector<uint32_t> tokens;
  if (!accepts([&] { tokens = decoded(bytes, TokenFile(train).token_bytes()); })) return;
  const uint32_t largest = *std::max_element(tokens.begin(), tokens.end());
  for (int vocab_size : {1, 256, 50257, 65536, 1 << 24}) {
    TokenStream stream;
    const bool accepted = accepts([&] { stream = TokenStream({train, val}, vocab_size); });
    require(accepted == (largest < uint32_t(vocab_size)), "the tokens of a stream are those of its vocabulary");
    if (!accepted) continue;
    require(stream.size() == 2 * tokens.size(), "no token is lost");
    std::vector<int32_t> copy(stream.size());
    stream.copy(0, copy.size(), copy.data());
    for (size_t i = 0; i < copy.size(); i++)
      require(copy[i] == int32_t(tokens[i % tokens.size()]), "tokens are read as they are");
    require(!accepts([&] { stream.copy(1, copy.size(), copy.data()); }), "nothing is read behind a stream's end");
    const int T = 1 + int(tokens[0] % 9), B = 1 + int(tokens.back() % 5);
    for (Order order : {Order::kSequential, Order::kShuffled}) accepts([&] { load_updates(stream, B, T, order); });
  }
  Dataset data;
  if (accepts([&] { data = load_dataset(sandbox(), 0); }))
    require(data.vocab_from_default && largest < uint32_t(kGpt2VocabSize), "GPT-2's vocabulary is assumed");
}
