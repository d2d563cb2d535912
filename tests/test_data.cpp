// Random numbers, hashes, token files, datasets and batches.
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <set>

#include "data/atomic_file.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "data/sha256.h"
#include "data/token_file.h"
#include "data/tokenizer.h"
#include "kernels/random.h"
#include "tests/catch.h"
#include "tests/error_text.h"
#include "tests/temp_dir.h"

namespace {

namespace fs = std::filesystem;

std::vector<int32_t> count_up(int first, int count) {
  std::vector<int32_t> tokens(count);
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

void write_tokens(const std::string& path, const std::vector<int32_t>& tokens, int vocab_size) {
  TokenWriter writer(path, vocab_size);
  writer.add(tokens.data(), tokens.size());
  writer.finish();
}

std::vector<int32_t> read_all(const TokenStream& stream) {
  std::vector<int32_t> tokens(stream.size());
  stream.copy(0, tokens.size(), tokens.data());
  return tokens;
}

// A token file's bytes, built here by hand and not by TokenWriter.
std::string token_bytes(std::vector<int32_t> header, const std::string& tokens) {
  header.resize(256);
  return std::string(reinterpret_cast<const char*>(header.data()), 1024) + tokens;
}

const std::string kThreeTokens("\x01\x00\x02\x00\x03\x01", 6);  // 1, 2, 259 as uint16

std::string open_error(const std::string& path, int vocab_size = 50257) {
  return error_text([&] { TokenStream({path}, vocab_size); });
}

// A folder as llm.c's scripts leave it.
void write_llmc_folder(const TempDir& dir, int vocab_size) {
  write_tokens(dir / "tiny_train.bin", count_up(0, 100), vocab_size);
  write_tokens(dir / "tiny_val.bin", count_up(100, 50), vocab_size);
}

}  // namespace

TEST_CASE("Philox gives the published known answers", "[core][data]") {
  // kat_vectors of Random123, lines "philox4x32 10".
  using Words = std::array<uint32_t, 4>;
  const uint64_t ones = ~uint64_t(0);
  CHECK(Philox{{0, 0}}(0, 0) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(Philox{{~0u, ~0u}}(ones, ones) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(Philox{{0xa4093822, 0x299f31d0}}(0x85a308d3243f6a88, 0x0370734413198a2e) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("FNV-1a gives its published values", "[core][data]") {
  CHECK(fnv1a("") == 0x811c9dc5);
  CHECK(fnv1a("a") == 0xe40c292c);
  CHECK(fnv1a("foobar") == 0xbf9cf968);
}

TEST_CASE("uniform and normal numbers have the right moments", "[core][data]") {
  const int count = 20000;
  Philox stream{{1, 2}};
  double sum = 0, squares = 0, fourth = 0;
  for (int i = 0; i < count; i++) {
    double x = standard_normal(stream, i);
    sum += x;
    squares += x * x;
    fourth += x * x * x * x;
  }
  // Four standard errors of the mean, the variance (2/n) and the fourth moment (96/n).
  CHECK(std::abs(sum / count) < 4 / std::sqrt(count));
  CHECK(std::abs(squares / count - 1) < 4 * std::sqrt(2.0 / count));
  CHECK(std::abs(fourth / count - 3) < 4 * std::sqrt(96.0 / count));
  CHECK(uniform(0, 0) > 0);
  CHECK(uniform(~0u, ~0u) < 1);
}

TEST_CASE("SHA-256 of text, pieces and files", "[core][data]") {
  const std::string abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";  // FIPS 180-4
  CHECK(sha256_hex("abc") == abc);
  CHECK(sha256_hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  Sha256 hash;
  hash.add("a", 1);
  hash.add("bc", 2);
  CHECK(hash.hex() == abc);
  TempDir dir;
  std::string million(1000000, 'a');
  write_file(dir / "million", million);
  CHECK(sha256_file(dir / "million") == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  CHECK(contains(error_text([&] { sha256_file(dir / "none"); }), dir / "none"));
}

TEST_CASE("a file that is not committed leaves the former one", "[core][data]") {
  TempDir dir;
  write_file_atomically(dir / "file", "first");
  {
    AtomicFile file(dir / "file");
    file.write("second", 6);
  }
  CHECK(read_file(dir / "file") == "first");
  write_file_atomically(dir / "file", "third");
  CHECK(read_file(dir / "file") == "third");
  CHECK_FALSE(fs::exists(dir / "file.tmp"));
  CHECK(contains(error_text([&] { AtomicFile file(dir / "none/file"); }), dir / "none/file"));
}

TEST_CASE("bytes as tokens and back", "[core][data]") {
  std::string text("caf\xc3\xa9\0\xff\n", 8);
  auto tokens = encode(text);
  CHECK(tokens == std::vector<int32_t>{'c', 'a', 'f', 0xc3, 0xa9, 0, 0xff, '\n'});
  CHECK(decode(tokens) == text);
  CHECK(decode({}).empty());
  for (int32_t token : {-1, 256})
    CHECK(contains(error_text([&] { decode(std::vector<int32_t>{token}); }), "token " + std::to_string(token)));
}

TEST_CASE("token files are written and read in both widths", "[core][data]") {
  TempDir dir;
  for (auto [vocab_size, magic, version, width] :
       {std::array{256, 20240520, 1, 2}, {65536, 20240520, 1, 2}, {65537, 20240801, 7, 4}, {1 << 24, 20240801, 7, 4}}) {
    std::vector<int32_t> tokens = {0, 7, vocab_size / 2, vocab_size - 1};
    write_tokens(dir / "tokens.bin", tokens, vocab_size);
    std::string bytes = read_file(dir / "tokens.bin");
    int32_t header[256];
    REQUIRE(bytes.size() == 1024 + tokens.size() * width);
    std::memcpy(header, bytes.data(), sizeof header);
    CHECK(header[0] == magic);
    CHECK(header[1] == version);
    CHECK(header[2] == 4);
    CHECK(std::count(header + 3, header + 256, 0) == 253);
    CHECK(TokenFile(dir / "tokens.bin").token_bytes() == width);
    CHECK(read_all(TokenStream({dir / "tokens.bin"}, vocab_size)) == tokens);
  }
}

TEST_CASE("token files as other programs write them are read", "[core][data]") {
  TempDir dir;
  write_file(dir / "a.bin", token_bytes({20240520, 1, 3}, kThreeTokens));
  CHECK(read_all(TokenStream({dir / "a.bin"}, 260)) == std::vector<int32_t>{1, 2, 259});
  write_file(dir / "b.bin", token_bytes({20240801, 7, 2}, std::string("\x01\x00\x01\x00\x02\x00\x00\x00", 8)));
  CHECK(read_all(TokenStream({dir / "b.bin"}, 65538)) == std::vector<int32_t>{65537, 2});
}

TEST_CASE("a writer appends pieces and writes nothing that is wrong", "[core][data]") {
  TempDir dir;
  {
    TokenWriter writer(dir / "tokens.bin", 300);
    for (int32_t token : count_up(0, 300)) writer.add(&token, 1);
    CHECK(writer.complete() == 300);
    CHECK_FALSE(fs::exists(dir / "tokens.bin"));
    CHECK(read_all(TokenStream({writer.temporary()}, 300)) == count_up(0, 300));
    CHECK(writer.finish() == 300);
  }
  CHECK(read_all(TokenStream({dir / "tokens.bin"}, 300)) == count_up(0, 300));
  for (int32_t bad : {-1, 300}) {
    TokenWriter writer(dir / "other.bin", 300);
    CHECK(contains(error_text([&] { writer.add(&bad, 1); }), "token " + std::to_string(bad)));
  }
  CHECK(contains(error_text([&] { TokenWriter(dir / "other.bin", 300).finish(); }), "other.bin"));
  CHECK_FALSE(fs::exists(dir / "other.bin"));
  CHECK_FALSE(fs::exists(dir / "other.bin.tmp"));
}

TEST_CASE("a token file that is changed in place while it is in use does no harm", "[core][data]") {
  TempDir dir;
  const std::string path = dir / "a.bin";
  write_file(path, token_bytes({20240520, 1, 3}, kThreeTokens));
  const TokenStream stream({path}, 260);
  CHECK(read_all(stream) == std::vector<int32_t>{1, 2, 259});
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(kTokenHeaderBytes + 2).write("\xff\xff", 2);  // write_file() would empty the mapped file
  file.close();
  const std::string sentence = error_text<Failure>([&] { read_all(stream); });
  CHECK(contains(sentence, "a.bin' has been changed while it was in use"));
}

TEST_CASE("damaged token files are refused by name", "[core][data]") {
  TempDir dir;
  const std::string path = dir / "tokens.bin", good = token_bytes({20240520, 1, 3}, kThreeTokens);
  auto refused = [&](const std::string& content, const std::string& reason) {
    write_file(path, content);
    std::string message = open_error(path);
    CAPTURE(content.size(), message, reason);
    CHECK(contains(message, path));
    CHECK(contains(message, reason));
  };

  std::string missing = open_error(dir / "none.bin");
  CHECK(contains(missing, dir / "none.bin"));
  CHECK(contains(missing, "No such file"));
  fs::create_directory(dir / "folder.bin");
  CHECK(contains(open_error(dir / "folder.bin"), "not a regular file"));

  refused("", "empty");
  for (size_t size : {1, 4, 12, 1023, 1024, 1025, 1026, 1028, 1029}) refused(good.substr(0, size), "truncated");
  refused(good + "\x01", "too long");
  refused(good + std::string("\x01\x00", 2), "too long");
  refused(std::string(2000, 'x'), "20240520");
  refused(token_bytes({20240521, 1, 3}, kThreeTokens), "20240521");
  refused(token_bytes({20240520, 2, 3}, kThreeTokens), "version 2");
  refused(token_bytes({20240801, 1, 3}, kThreeTokens + kThreeTokens), "version 1");
  refused(token_bytes({20240520, 1, 2}, kThreeTokens), "counts 2 tokens");
  refused(token_bytes({20240520, 1, 4}, kThreeTokens), "counts 4 tokens");
  refused(token_bytes({20240520, 1, 0}, ""), "no tokens");
  refused(token_bytes({20240520, 1, -3}, kThreeTokens), "no tokens");
  refused(token_bytes({20240520, 1, 2147483647}, kThreeTokens), "truncated");

  write_file(path, good);
  CHECK(open_error(path) == "");
}

TEST_CASE("a token at or above the vocabulary is named with its offset", "[core][data]") {
  TempDir dir;
  std::string path = dir / "tokens.bin";
  write_file(path, token_bytes({20240520, 1, 3}, kThreeTokens));
  CHECK(open_error(path, 260) == "");
  for (int vocab_size : {259, 256, 3}) {
    std::string message = open_error(path, vocab_size);
    CHECK(contains(message, path));
    CHECK(contains(message, "token 259 at byte offset 1028"));
    CHECK(contains(message, "below " + std::to_string(vocab_size)));
  }
  CHECK(contains(open_error(path, 2), "token 2 at byte offset 1026"));  // the first offender, not the worst

  // As int32 this token would be negative.
  write_file(path, token_bytes({20240801, 7, 2}, std::string("\x01\x00\x00\x00\x00\x00\x00\xff", 8)));
  CHECK(contains(open_error(path, 1 << 24), "token 4278190080 at byte offset 1028"));
}

TEST_CASE("several files are one stream", "[core][data]") {
  TempDir dir;
  write_tokens(dir / "a.bin", count_up(0, 5), 100);
  write_tokens(dir / "b.bin", count_up(5, 1), 100);
  write_tokens(dir / "c.bin", count_up(6, 7), 70000);  // uint32 among uint16
  TokenStream stream({dir / "a.bin", dir / "b.bin", dir / "c.bin"}, 100);
  REQUIRE(stream.size() == 13);
  CHECK(stream.files().size() == 3);
  CHECK(contains(stream.name(), "a.bin' and 2 more"));
  for (int begin = 0; begin <= 13; begin++)
    for (int count = 0; begin + count <= 13; count++) {
      std::vector<int32_t> out(count + 1, -7);
      stream.copy(begin, count, out.data());
      CHECK(out.back() == -7);
      out.pop_back();
      CHECK(out == count_up(begin, count));
    }
  int32_t unused[3];
  CHECK(contains(error_text([&] { stream.copy(12, 2, unused); }), "ends at token 13"));
  CHECK(contains(error_text([&] { stream.copy(~uint64_t(0), 2, unused); }), "ends at token 13"));
  CHECK(contains(error_text([&] { TokenStream({dir / "a.bin", dir / "c.bin"}, 12); }), dir / "c.bin"));
  CHECK(TokenStream().empty());
}

TEST_CASE("a folder written for llm.c is read", "[core][data]") {
  TempDir dir;
  write_llmc_folder(dir, 50257);
  Dataset data = load_dataset(dir.path.string(), 0);
  CHECK(data.vocab_size == 50257);
  CHECK(data.vocab_from_default);
  CHECK(data.train.size() == 100);
  CHECK(data.val.size() == 50);
  CHECK(data.test.empty());
  CHECK(data.tokenizer == "");
  CHECK(data.bytes_in("val") == 0);
  CHECK(data.sha256 == std::map<std::string, std::string>{{"tiny_train.bin", sha256_file(dir / "tiny_train.bin")},
                                                          {"tiny_val.bin", sha256_file(dir / "tiny_val.bin")}});
  CHECK(&data.split("val") == &data.val);
  CHECK(contains(error_text([&] { data.split("test"); }), "test"));
  CHECK(contains(error_text([&] { data.split("valid"); }), "train, val and test"));

  Dataset wider = load_dataset(dir.path.string(), 50304);
  CHECK(wider.vocab_size == 50304);
  CHECK_FALSE(wider.vocab_from_default);
  CHECK(contains(error_text([&] { load_dataset(dir.path.string(), 99); }), "token 99 at byte offset 1222"));

  write_tokens(dir / "tiny_train_000002.bin", count_up(7, 3), 50257);
  write_tokens(dir / "tiny_train_000001.bin", count_up(5, 2), 50257);
  auto tokens = read_all(load_dataset(dir.path.string(), 0).train);
  REQUIRE(tokens.size() == 105);
  CHECK(std::vector<int32_t>(tokens.begin() + 100, tokens.end()) == count_up(5, 5));
  CHECK(std::vector<int32_t>(tokens.begin(), tokens.begin() + 100) == count_up(0, 100));
}

TEST_CASE("uint32 tokens without tokens.json need a vocabulary", "[core][data]") {
  TempDir dir;
  write_llmc_folder(dir, 100000);
  std::string message = error_text([&] { load_dataset(dir.path.string(), 0); });
  CHECK(contains(message, "--vocab-size"));
  CHECK(contains(message, "uint32"));
  CHECK(load_dataset(dir.path.string(), 100000).vocab_size == 100000);
}

TEST_CASE("tokens.json decides the vocabulary and is checked", "[core][data]") {
  TempDir dir;
  std::string folder = dir.path.string(), json = dir / "tokens.json";
  write_llmc_folder(dir, 256);
  write_file(json, R"({"vocab_size": 200})");
  CHECK(load_dataset(folder, 0).vocab_size == 200);
  CHECK(load_dataset(folder, 200).vocab_size == 200);
  std::string message = error_text([&] { load_dataset(folder, 300); });
  CHECK(contains(message, "--vocab-size is 300"));
  CHECK(contains(message, "200"));
  message = error_text([&] { load_dataset(folder, 300, "the checkpoint's vocabulary"); });
  CHECK(contains(message, "the checkpoint's vocabulary is 300"));

  write_file(json, R"({"vocab_size": 256, "tokenizer": "other", "bytes": {"val": 400}, "source": "me"})");
  Dataset data = load_dataset(folder, 0);
  CHECK(data.tokenizer == "other");
  CHECK(data.source == "me");
  CHECK(data.bytes_in("val") == 400);
  CHECK(data.bytes_in("train") == 0);
  CHECK_FALSE(data.unexpected_text);

  write_file(json, R"({"vocab_size": 256, "tokenizer": "bytes", "expected": false})");
  data = load_dataset(folder, 0);
  CHECK(data.bytes_in("val") == 50);
  CHECK(data.unexpected_text);

  for (const char* broken : {"", "{", "[]", "{}", R"({"vocab_size": 0})", R"({"vocab_size": -5})",
                             R"({"vocab_size": "256"})", R"({"vocab_size": 256, "bytes": [1]})"}) {
    write_file(json, broken);
    CAPTURE(broken);
    CHECK(contains(error_text([&] { load_dataset(folder, 0); }), json));
  }
}

TEST_CASE("token files that changed since prepare are refused", "[core][data]") {
  TempDir dir;
  write_llmc_folder(dir, 256);
  auto write_json = [&](const std::string& train_hash) {
    write_file(dir / "tokens.json", R"({"vocab_size": 256, "sha256": {"tiny_train.bin": ")" + train_hash +
                                        R"(", "tiny_val.bin": ")" + sha256_file(dir / "tiny_val.bin") + "\"}}");
  };
  auto load = [&] { load_dataset(dir.path.string(), 0); };
  write_json(sha256_file(dir / "tiny_train.bin"));
  CHECK(error_text(load) == "");
  write_tokens(dir / "new_train.bin", count_up(0, 3), 256);
  CHECK(contains(error_text(load), "new_train.bin"));
  fs::remove(dir / "new_train.bin");
  write_json(sha256_hex("another file"));
  CHECK(contains(error_text(load), "tiny_train.bin' has changed since prepare"));
}

TEST_CASE("a folder without token files names the command that makes them", "[core][data]") {
  TempDir dir;
  std::string none = dir / "none", message = error_text([&] { load_dataset(none, 0); });
  CHECK(contains(message, none));
  CHECK(contains(message, "build/prepare --corpus kjv --out " + none));
  write_tokens(dir / "val.bin", count_up(0, 10), 256);
  message = error_text([&] { load_dataset(dir.path.string(), 0); });
  CHECK(contains(message, "*train*.bin"));
  CHECK(contains(message, "build/prepare"));
  fs::rename(dir / "val.bin", dir / "train.bin");
  CHECK(contains(error_text([&] { load_dataset(dir.path.string(), 0); }), "*val*.bin"));
  write_tokens(dir / "train_val.bin", count_up(0, 10), 256);
  CHECK(contains(error_text([&] { load_dataset(dir.path.string(), 0); }), "both 'train' and 'val'"));
}

TEST_CASE("one token file is a dataset of its own", "[core][data]") {
  TempDir dir;
  write_tokens(dir / "any.bin", count_up(0, 60), 256);
  Dataset data = load_token_file(dir / "any.bin", 0);
  CHECK(data.vocab_size == 50257);
  CHECK(read_all(data.split("val")) == count_up(0, 60));
  CHECK(data.train.empty());
  CHECK(data.bytes_in("val") == 0);
  write_file(dir / "tokens.json", R"({"vocab_size": 256, "tokenizer": "bytes", "bytes": {"val": 7}})");
  data = load_token_file(dir / "any.bin", 0);
  CHECK(data.vocab_size == 256);
  CHECK(data.bytes_in("val") == 60);
  CHECK(data.sha256.at("any.bin") == sha256_file(dir / "any.bin"));
  CHECK(contains(error_text([&] { load_token_file(dir / "none.bin", 256); }), "none.bin"));
}

namespace {

// A stream of 0, 1, 2, ...: a token is its own position.
struct Ramp {
  TempDir dir;
  TokenStream stream;
  explicit Ramp(int count) {
    write_tokens(dir / "ramp.bin", count_up(0, count), count);
    stream = TokenStream({dir / "ramp.bin"}, count);
  }
};

// All rows of an update in order, inputs then targets of each.
std::vector<std::vector<int32_t>> rows_of_update(Loader& loader, int B, int T, int accum, uint64_t update) {
  std::vector<std::vector<int32_t>> rows;
  std::vector<int32_t> inputs(size_t(B) * T), targets(size_t(B) * T);
  for (int micro = 0; micro < accum; micro++) {
    loader.load(update, micro, inputs.data(), targets.data());
    for (int b = 0; b < B; b++) {
      std::vector<int32_t> row(inputs.begin() + b * T, inputs.begin() + (b + 1) * T);
      row.insert(row.end(), targets.begin() + b * T, targets.begin() + (b + 1) * T);
      rows.push_back(row);
    }
  }
  return rows;
}

}  // namespace

TEST_CASE("windows are cut so that targets are inputs shifted by one", "[core][data]") {
  for (auto [N, T, W] : {std::array{21, 4, 5}, {20, 4, 4}, {24, 4, 5}, {25, 4, 6}, {2, 1, 1}, {8, 7, 1}}) {
    CAPTURE(N, T);
    Ramp ramp(N);
    Loader loader(ramp.stream, 1, T, 1, Order::kSequential, 0);
    CHECK(loader.windows() == uint64_t(W));
    CHECK(loader.updates_per_epoch() == uint64_t(W));
    CHECK(permutation_bytes(ramp.stream.size(), T, Order::kShuffled) == 8 * uint64_t(W));
    CHECK(permutation_bytes(ramp.stream.size(), T, Order::kSequential) == 0);
    for (int u = 0; u < 2 * W; u++) {
      auto row = rows_of_update(loader, 1, T, 1, u)[0];
      CHECK(std::vector<int32_t>(row.begin(), row.begin() + T) == count_up(u % W * T, T));
      CHECK(std::vector<int32_t>(row.begin() + T, row.end()) == count_up(u % W * T + 1, T));
    }
  }
}

TEST_CASE("sequential order is llm.c's", "[core][data]") {
  // llm.c's loader walks the file: a batch starts where the last one ended, and when less than a batch and one token is
  // left it starts over.
  const int B = 3, T = 5, N = 100;
  Ramp ramp(N);
  Loader loader(ramp.stream, B, T, 1, Order::kSequential, 9);
  int position = 0;
  for (int u = 0; u < 20; u++) {
    if (position + B * T + 1 > N) position = 0;
    auto rows = rows_of_update(loader, B, T, 1, u);
    for (int b = 0; b < B; b++) {
      CHECK(rows[b].front() == position + b * T);
      CHECK(rows[b].back() == position + (b + 1) * T);
    }
    position += B * T;
  }
}

TEST_CASE("the shuffle is the recorded one", "[core][data]") {
  // From a second implementation, in Python, of Philox and of the rule in data/loader.h.
  using Windows = std::vector<uint64_t>;
  CHECK(shuffled_windows(10, 1, 0) == Windows{9, 4, 5, 6, 1, 0, 8, 3, 7, 2});
  CHECK(shuffled_windows(10, 1, 1) == Windows{9, 8, 0, 6, 4, 2, 5, 7, 1, 3});
  CHECK(shuffled_windows(10, 2, 0) == Windows{7, 3, 1, 4, 9, 8, 0, 2, 5, 6});
  CHECK(shuffled_windows(10, (uint64_t(1) << 32) + 1, 0) == Windows{2, 6, 3, 9, 5, 7, 4, 8, 0, 1});
  CHECK(shuffled_windows(1, 1, 0) == Windows{0});

  Ramp ramp(10 * 4 + 1);
  Loader loader(ramp.stream, 2, 4, 1, Order::kShuffled, 1);
  for (auto [update, row, window] : {std::array{0, 0, 9}, {0, 1, 4}, {4, 1, 2}, {5, 0, 9}, {5, 1, 8}, {0, 0, 9}}) {
    CAPTURE(update, row);
    CHECK(loader.window(update, row) == uint64_t(window));
    CHECK(rows_of_update(loader, 2, 4, 1, update)[row].front() == 4 * window);
  }
}

TEST_CASE("every order is about equally frequent", "[core][data]") {
  std::map<std::vector<uint64_t>, int> seen;
  for (int seed = 0; seed < 6000; seed++) seen[shuffled_windows(3, seed, 0)]++;
  CHECK(seen.size() == 6);
  for (const auto& [order, count] : seen) CHECK(std::abs(count - 1000) < 4 * std::sqrt(1000.0 * 5 / 6));
}

TEST_CASE("an epoch shows windows once, the next in another order", "[core][data]") {
  Ramp ramp(103 * 3 + 2);  // W = 103; 5 x 2 rows: U = 10, three windows of each epoch are left out
  Loader loader(ramp.stream, 5, 3, 2, Order::kShuffled, 42);
  REQUIRE(loader.windows() == 103);
  REQUIRE(loader.updates_per_epoch() == 10);
  std::vector<uint64_t> epochs[3];
  for (int update = 0; update < 30; update++)
    for (int row = 0; row < 10; row++) epochs[update / 10].push_back(loader.window(update, row));
  for (const auto& epoch : epochs) {
    std::set<uint64_t> different(epoch.begin(), epoch.end());
    CHECK(different.size() == 100);
    CHECK(*different.rbegin() <= 102);
  }
  CHECK(epochs[0] != epochs[1]);
  CHECK(epochs[1] != epochs[2]);
}

TEST_CASE("rows do not depend on how an update is divided, nor on what was loaded before", "[core][data]") {
  const int T = 3;
  Ramp ramp(50 * T + 1);
  for (Order order : {Order::kShuffled, Order::kSequential}) {
    Loader whole(ramp.stream, 12, T, 1, order, 7), parts(ramp.stream, 3, T, 4, order, 7),
        single(ramp.stream, 1, T, 12, order, 7);
    for (uint64_t update : {0, 1, 3, 4, 9, 2}) {
      auto rows = rows_of_update(whole, 12, T, 1, update);
      CHECK(rows_of_update(parts, 3, T, 4, update) == rows);
      CHECK(rows_of_update(single, 1, T, 12, update) == rows);
      Loader resumed(ramp.stream, 12, T, 1, order, 7);
      CHECK(rows_of_update(resumed, 12, T, 1, update) == rows);
    }
  }
}

TEST_CASE("a batch or a sequence that does not fit is refused with what fits", "[core][data]") {
  Ramp ramp(41);
  auto refusal = [&](int B, int T, int accum) {
    return error_text([&] { Loader(ramp.stream, B, T, accum, Order::kShuffled, 1); });
  };
  CHECK(refusal(10, 4, 1) == "");
  CHECK(refusal(1, 40, 1) == "");
  std::string message = refusal(6, 4, 2);
  CHECK(contains(message, "--batch-size 6 times --grad-accum 2"));
  CHECK(contains(message, "ramp.bin"));
  CHECK(contains(message, "at most 10"));
  message = refusal(1, 41, 1);
  CHECK(contains(message, "--seq-len 41"));
  CHECK(contains(message, "at most 40"));
  CHECK(contains(refusal(0, 4, 1), "--batch-size 0"));
  CHECK(contains(refusal(1, 0, 1), "--seq-len 0"));
  CHECK(contains(refusal(1, 4, -1), "--grad-accum -1"));
  CHECK(contains(error_text([&] { Loader(TokenStream(), 1, 4, 1, Order::kShuffled, 1); }), "holds 0"));
}
