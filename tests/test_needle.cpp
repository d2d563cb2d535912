// Examples of key retrieval: their layout, that they follow from their arguments alone, and folders of them.
#include "data/needle.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>

#include "data/dataset.h"
#include "data/loader.h"
#include "data/prepare.h"
#include "data/prepare_needle.h"
#include "data/sha256.h"
#include "data/tokenizer.h"
#include "data/tokens_json.h"
#include "tests/catch.h"
#include "tests/error_text.h"
#include "tests/temp_dir.h"

namespace {

namespace fs = std::filesystem;

// Words of small letters, no two places alike.
std::string some_text(size_t size, uint32_t state = 1) {
  std::string text(size, '\0');
  for (char& c : text) {
    state = state * 1664525 + 1013904223;
    c = state >> 29 == 0 ? ' ' : char('a' + (state >> 24) % 26);
  }
  return text;
}

Filler filler_of(const std::string& text) {
  return {"the text", text.size(), [&text](uint64_t begin, size_t count) { return text.substr(begin, count); }};
}

bool only_of(const std::string& text, char first, char last) {
  return std::all_of(text.begin(), text.end(), [&](char c) { return first <= c && c <= last; });
}

std::vector<size_t> places_of(const std::string& word, const std::string& text) {
  std::vector<size_t> places;
  for (size_t at = text.find(word); at != text.npos; at = text.find(word, at + 1)) places.push_back(at);
  return places;
}

// Key, value and filler of an example, whose layout is checked.
struct Parts {
  std::string key, value, filler;
};
Parts parts_of(const NeedleExample& example, size_t length) {
  const std::string& text = example.text;
  REQUIRE(text.size() == length);
  REQUIRE(example.place <= length - 19);
  Parts parts{text.substr(example.place, 4), text.substr(example.place + 5, 4),
              text.substr(0, example.place) + text.substr(example.place + 10, length - 19 - example.place)};
  CHECK(only_of(parts.key, 'a', 'z'));
  CHECK(only_of(parts.value, '0', '9'));
  CHECK(text.substr(example.place, 10) == parts.key + "=" + parts.value + ";");
  CHECK(text.substr(length - 9) == parts.key + "=" + parts.value);
  CHECK(example.needle_value() == example.place + 5);
  CHECK(example.query_end() == length - 5);
  CHECK(example.answer() == length - 4);
  CHECK(places_of(parts.key, text) == std::vector<size_t>{example.place, length - 9});
  CHECK(places_of(parts.value, text) == std::vector<size_t>{example.place + 5, length - 4});
  return parts;
}

std::string text_of_stream(const TokenStream& stream) {
  std::vector<int32_t> tokens(stream.size());
  stream.copy(0, tokens.size(), tokens.data());
  return decode(tokens);
}

}  // namespace

TEST_CASE("an example holds a needle in filler and ends with its key and value", "[core][needle]") {
  const std::string text = some_text(3000);
  const Filler filler = filler_of(text);
  for (size_t length : {32, 33, 64, 256, 1000}) {
    std::set<std::string> keys, values;
    for (uint64_t i = 0; i < 50; i++) {
      INFO("example " << i << " of " << length << " bytes");
      const Parts parts = parts_of(needle_example(filler, length, std::nullopt, 1, "a", i), length);
      CHECK(text.find(parts.filler) != text.npos);
      keys.insert(parts.key);
      values.insert(parts.value);
    }
    CHECK(keys.size() > 45);
    CHECK(values.size() > 45);
  }
}

TEST_CASE("the needle lies at the depth asked for, and before the query", "[core][needle]") {
  const std::string text = some_text(3000);
  for (size_t length : {32, 256}) {
    const size_t most = length - 19;
    for (double depth : {0.0, 0.25, 0.5, 1.0}) {
      const NeedleExample example = needle_example(filler_of(text), length, depth, 1, "a", 0);
      CHECK(example.place == size_t(std::llround(depth * double(most))));
      parts_of(example, length);
    }
  }
  // Without a depth every place is equally likely: of 14 places, 2800 examples put some 200 at each.
  std::map<size_t, int> at;
  for (uint64_t i = 0; i < 2800; i++) at[needle_example(filler_of(text), 32, std::nullopt, 1, "a", i).place]++;
  CHECK(at.size() == 14);
  for (const auto& [place, count] : at) {
    INFO("place " << place);
    CHECK(std::abs(count - 200) < 70);  // 5 standard deviations of a binomial
  }
}

TEST_CASE("all pieces of the text are filler, its first and last byte too", "[core][needle]") {
  const std::string text = some_text(20);
  std::map<std::string, int> fillers;
  for (uint64_t i = 0; i < 1000; i++)
    fillers[parts_of(needle_example(filler_of(text), 32, std::nullopt, 1, "a", i), 32).filler]++;
  CHECK(fillers.size() == 8);
  CHECK(fillers[text.substr(0, 13)] > 60);
  CHECK(fillers[text.substr(7)] > 60);

  const std::string least = text.substr(0, 13);
  CHECK_NOTHROW(require_filler(filler_of(least), 32));
  CHECK(parts_of(needle_example(filler_of(least), 32, 0.5, 1, "a", 0), 32).filler == least);
  const std::string shorter = text.substr(0, 12);
  const std::string sentence = error_text([&] { require_filler(filler_of(shorter), 32); });
  CHECK(contains(sentence, "the text has 12 bytes"));
  CHECK(contains(sentence, "at least 13"));
}

TEST_CASE("an example follows from its arguments", "[core][needle]") {
  const std::string text = some_text(3000);
  const Filler filler = filler_of(text);
  auto example = [&](uint64_t seed, const char* series, uint64_t number) {
    return needle_example(filler, 64, std::nullopt, seed, series, number).text;
  };
  CHECK(example(1, "a", 0) == example(1, "a", 0));
  const std::set<std::string> others = {example(1, "a", 0), example(1, "a", 1), example(1, "b", 0), example(2, "a", 0),
                                        example(uint64_t(1) << 32, "a", 0)};
  CHECK(others.size() == 5);
}

TEST_CASE("keys and values that the filler holds are drawn again", "[core][needle]") {
  // Every pair of digits follows another: half of all values stand in a piece of 5000 of these digits.
  std::string digits = some_text(6000);
  for (char& c : digits) c = char('0' + uint8_t(c) % 10);
  for (uint64_t i = 0; i < 20; i++) parts_of(needle_example(filler_of(digits), 5000, std::nullopt, 1, "a", i), 5000);

  std::string all;  // every value
  for (int i = 0; i < 10000; i++) {
    const std::string value = std::to_string(10000 + i).substr(1);
    if (all.find(value) == all.npos) all += value;
  }
  const std::string sentence = error_text([&] { needle_example(filler_of(all), all.size() + 19, 0.5, 1, "a", 0); });
  CHECK(contains(sentence, "the text"));
  CHECK(contains(sentence, "shorter examples"));
}

// --- folders of them --------------------------------------------------------------------------------------------------

namespace {

// A text and a folder of plain tokens in a temporary folder.
struct Folder {
  TempDir dir;
  std::string text = some_text(20000);
  PrepareSource source{{dir / "text"}, "words", ""};

  Folder() {
    write_file(dir / "text", text);
    write_file(dir / "plain.txt", some_text(9000, 77));
    prepare({{dir / "plain.txt"}, "plain", ""}, dir / "plain");
  }

  NeedleData needles(double share = 0) const {
    NeedleData needles;
    needles.length = 40;
    needles.examples = 600;
    needles.seed = 3;
    if (share > 0) needles.mix = dir / "plain", needles.mix_share = share;
    return needles;
  }
};

// Whether a row of 40 bytes is an example.
bool is_example(const std::string& row) { return places_of(row.substr(31, 5), row).size() == 2 && row[35] == '='; }

}  // namespace

TEST_CASE("a folder of examples is rows of them, from the file's own split", "[core][needle]") {
  Folder folder;
  const PrepareResult result = prepare_needle(folder.source, folder.needles(), folder.dir / "out");
  CHECK_FALSE(result.already);
  prepare(folder.source, folder.dir / "text-tokens");
  const Dataset text = load_dataset(folder.dir / "text-tokens", 0), data = load_dataset(folder.dir / "out", 256);
  CHECK(data.tokenizer == "bytes");
  CHECK(data.task == "needle");
  CHECK(text.task == "");
  for (const char* part : {"needle", "40", "600", "words", "seed 3"}) CHECK(contains(data.source, part));
  CHECK(read_tokens_json(folder.dir / "out")->source_sha256 == result.sha256);
  CHECK(read_tokens_json(folder.dir / "out")->block_bytes == 2000);
  CHECK(result.train == 600 * 40 + 1);

  std::set<std::string> rows;
  for (auto [split, count] : {std::pair{"train", 600}, {"val", 30}, {"test", 30}}) {
    INFO(split);
    const std::string bytes = text_of_stream(data.split(split)), fillers = text_of_stream(text.split(split));
    REQUIRE(bytes.size() == size_t(count) * 40 + 1);
    CHECK(bytes.back() == '\n');
    CHECK(data.bytes_in(split) == bytes.size());
    CHECK(Loader(data.split(split), 1, 40, 1, Order::kSequential, 1).windows() == uint64_t(count));
    for (int i = 0; i < count; i++) {
      NeedleExample example{bytes.substr(size_t(i) * 40, 40)};
      example.place = example.text.find(example.text.substr(31, 5));
      CHECK(fillers.find(parts_of(example, 40).filler) != fillers.npos);
      rows.insert(example.text);
    }
  }
  CHECK(rows.size() == 660);

  NeedleData few = folder.needles();
  few.examples = 1;
  CHECK(prepare_needle(folder.source, few, folder.dir / "few").train == 41);
  CHECK(load_dataset(folder.dir / "few", 0).val.size() == 20 * 40 + 1);
}

TEST_CASE("of the rows of a folder a share are plain windows", "[core][needle]") {
  Folder folder;
  for (double share : {0.25, 0.5, 0.9}) {
    INFO("share " << share);
    const NeedleData needles = folder.needles(share);
    const std::string out = folder.dir / ("out" + std::to_string(share));
    prepare_needle(folder.source, needles, out);
    const Dataset data = load_dataset(out, 0), plain = load_dataset(needles.mix, 0);
    CHECK(contains(data.source, "of " + shortened(needles.mix)));
    for (auto [split, examples] : {std::pair{"train", 600}, {"val", 30}, {"test", 30}}) {
      const std::string bytes = text_of_stream(data.split(split)), windows = text_of_stream(plain.split(split));
      const size_t rows = bytes.size() / 40, expected = size_t(std::llround(examples / (1 - share)));
      CHECK(rows == expected);
      std::map<std::string, int> seen;  // plain rows
      size_t runs = 0, found = 0;       // changes between the kinds; examples
      for (size_t r = 0; r < rows; r++) {
        const std::string row = bytes.substr(r * 40, 40);
        found += is_example(row);
        runs += r > 0 && is_example(row) != is_example(bytes.substr((r - 1) * 40, 40));
        if (!is_example(row)) seen[row]++;
      }
      CHECK(found == size_t(examples));
      CHECK(runs > size_t(examples) / 20);  // mixed, row by row
      int least = 1 << 30, most = 0;
      for (const auto& [row, count] : seen) {
        CHECK(windows.find(row) % 40 == 0);
        least = std::min(least, count);
        most = std::max(most, count);
      }
      // Each window once before any comes again: where not all came, none came twice.
      CHECK(most - (seen.size() == windows.size() / 40 ? least : 0) <= 1);
    }
  }
}

TEST_CASE("the same folder of examples is made once, and another is not written over it", "[core][needle]") {
  Folder folder;
  const NeedleData needles = folder.needles(0.5);
  const std::string out = folder.dir / "out", text_hash = sha256_hex(folder.text);
  CHECK_FALSE(needle_already_prepared(text_hash, needles, out));
  const PrepareResult first = prepare_needle(folder.source, needles, out);
  const auto time = fs::last_write_time(out + "/train.bin");
  const PrepareResult second = prepare_needle(folder.source, needles, out);
  CHECK(second.already);
  CHECK(second.train == first.train);
  CHECK(second.sha256 == first.sha256);
  CHECK(fs::last_write_time(out + "/train.bin") == time);
  CHECK(needle_already_prepared(text_hash, needles, out));
  CHECK_FALSE(already_prepared(out, text_hash));

  prepare_needle(folder.source, needles, folder.dir / "again");
  CHECK(load_dataset(folder.dir / "again", 0).sha256 == load_dataset(out, 0).sha256);

  std::set<std::string> hashes = {load_dataset(out, 0).sha256["train.bin"]};
  int number = 0;
  auto another = [&](auto change) {
    NeedleData other = needles;
    change(other);
    INFO("change " << number);
    CHECK_FALSE(needle_already_prepared(text_hash, other, out));
    CHECK(contains(error_text([&] { prepare_needle(folder.source, other, out); }), "name another folder"));
    const std::string elsewhere = folder.dir / ("other" + std::to_string(number++));
    prepare_needle(folder.source, other, elsewhere);
    CHECK(hashes.insert(load_dataset(elsewhere, 0).sha256["train.bin"]).second);
  };
  another([](NeedleData& other) { other.seed = 4; });
  another([](NeedleData& other) { other.examples = 601; });
  another([](NeedleData& other) { other.length = 41; });
  another([](NeedleData& other) { other.mix_share = 0.25; });
  another([](NeedleData& other) { other.mix = "", other.mix_share = 0; });
  CHECK(contains(error_text([&] { prepare(folder.source, out); }), "name another folder"));
  CHECK(fs::last_write_time(out + "/train.bin") == time);

  // The folder of plain tokens has changed: no longer the same.
  fs::remove_all(folder.dir / "plain");
  write_file(folder.dir / "plain.txt", some_text(9000, 78));
  prepare({{folder.dir / "plain.txt"}, "plain", ""}, folder.dir / "plain");
  const PrepareResult changed = prepare_needle(folder.source, needles, out);
  CHECK(changed.replaced);
  CHECK(hashes.insert(load_dataset(out, 0).sha256["train.bin"]).second);
}

TEST_CASE("a folder of examples that cannot be made is not begun", "[core][needle]") {
  Folder folder;
  auto refusal = [&](auto change) {
    NeedleData needles = folder.needles();
    change(needles);
    const std::string sentence = error_text([&] { prepare_needle(folder.source, needles, folder.dir / "x"); });
    CHECK_FALSE(fs::exists(folder.dir / "x"));
    return sentence;
  };
  const std::string too_long = refusal([](NeedleData& needles) { needles.length = 2020; });
  CHECK(contains(too_long, "the split val of words has 2000 bytes"));
  CHECK(contains(too_long, "at least 2001"));
  CHECK(contains(refusal([](NeedleData& needles) { needles.examples = 2147483647; }), "--examples 2147483647"));
  CHECK(contains(refusal([&](NeedleData& needles) {
                   needles.mix = folder.dir / "plain";
                   needles.mix_share = 0.999999999;
                 }),
                 "0.999999999 of all rows"));
  CHECK(contains(refusal([](NeedleData& needles) { needles.mix = "nowhere"; }), "'nowhere'"));
  CHECK(contains(refusal([&](NeedleData& needles) {
                   needles.mix = folder.dir / "plain";
                   needles.length = 901;
                 }),
                 "900 tokens for the split val"));
  write_file(folder.dir / "plain/tokens.json", R"({"vocab_size": 256, "tokenizer": "words"})");
  CHECK(contains(refusal([&](NeedleData& needles) { needles.mix = folder.dir / "plain"; }), "made by 'words'"));
  fs::remove(folder.dir / "plain/tokens.json");
  CHECK(contains(refusal([&](NeedleData& needles) { needles.mix = folder.dir / "plain"; }), "of unknown kind"));
}
