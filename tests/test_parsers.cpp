// What hostile or damaged files and command lines do to the parsers: nothing but one printable sentence, soon. Inputs that
// are small are in tests/fuzz/corpus too; here are those that are large, and what each of them must be told.
#include <sys/stat.h>

#include <chrono>
#include <cmath>
#include <sstream>

#include "data/dataset.h"
#include "data/small_file.h"
#include "data/strict_json.h"
#include "data/tokens_json.h"
#include "tests/catch.h"
#include "tests/error_text.h"
#include "tests/fuzz/fuzz.h"
#include "tests/temp_dir.h"
#include "train/checkpoint_json.h"
#include "train/checksums.h"
#include "train/command_line.h"
#include "train/comparison.h"
#include "train/metrics_reader.h"
#include "train/options.h"
#include "train/program_options.h"
#include "train/safetensors.h"

namespace {

using Json = nlohmann::ordered_json;

constexpr double kSoonSeconds = 5;  // milliseconds are usual; the sanitizers and a busy machine need more

// Seconds that `body` takes.
template <class Body>
double seconds(Body&& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string repeated(const std::string& text, size_t times) {
  std::string result;
  for (size_t i = 0; i < times; i++) result += text;
  return result;
}

constexpr const char* kStart = R"({"event":"start","schema":1,"normalizer":"softmax","options":{"seed":1}})";

Run read_lines(const std::string& lines) {
  std::istringstream file(lines);
  return read_metrics(file, "R/metrics.jsonl", "R");
}

std::string refusal(const std::string& line) {
  return error_text([&] { read_lines(kStart + ("\n" + line) + "\n"); });
}

template <class Options>
Options parse(Options (*parser)(int, const char* const*), std::vector<const char*> words) {
  words.insert(words.begin(), "program");
  return parser(int(words.size()), words.data());
}

}  // namespace

TEST_CASE("text of unknown origin is made printable", "[core][parsers]") {
  CHECK(printable("plain, m\u00e4\u00dfig \u2212 \U0001F600") == "plain, m\u00e4\u00dfig \u2212 \U0001F600");
  CHECK(printable("a\nb\tc\x1b[2Jd\x7f") == "a?b?c?[2Jd?");
  CHECK(printable("\u009b[2J \u2028 \u2029") == "?[2J ? ?");  // C1's escape, and two more ends of a line
  const std::string broken[] = {"\xff",
                                "\x80",
                                "\xc3",
                                "\xc0\xaf",
                                "\xe0\x80\xaf",
                                "\xed\xa0\x80",
                                "\xf0\x80\x80\x80",
                                "\xf4\x90\x80\x80",
                                "\xf8\x88\x80\x80\x80",
                                "\xe2\x82"};
  for (const std::string& text : broken) {
    CHECK(printable(text + "x") == std::string(text.size(), '?') + "x");
    CHECK_FALSE(is_printable(text));
  }
  for (unsigned first = 0; first < 256; first++)
    for (unsigned second = 0; second < 256; second++) {
      const char bytes[] = {char(first), char(second), char(0x80), char(0x80)};
      if (!is_printable(printable({bytes, 4}))) FAIL(first << " " << second);
    }
  CHECK(shortened("abcdefgh", 8) == "abcdefgh");
  CHECK(shortened("abcdefghi", 8) == "abcde...");
  CHECK(shortened("abcd\u00e9ghi", 8) == "abcd...");
  CHECK(std::string(Error("a\nb").what()) == "a?b");
  CHECK(std::string(Failure("a\x1b").what()) == "a?");
}

TEST_CASE("JSON that is deep, wide or full of keys is refused soon", "[core][parsers]") {
  auto refused = [](const std::string& text) { return error_text([&] { parse_strict_json<Json>(text, "'F'"); }); };
  CHECK(refused(std::string(1'000'000, '[')) == "'F' is nested deeper than the 16 levels allowed");
  CHECK(refused(repeated("{\"a\":", 100'000)) == "'F' is nested deeper than the 16 levels allowed");
  std::string keys = "{";
  for (int i = 0; i < 300'000; i++) keys += "\"key" + std::to_string(i) + "\":0,";
  CHECK(seconds([&] { CHECK(refused(keys) == "'F' has more than the 20000 keys allowed"); }) < kSoonSeconds);
  CHECK(contains(refused("{\"a\":1e999}"), "a number that no computer number can hold"));
  CHECK(contains(refused("{\"a\":NaN}"), "breaks at byte"));
  CHECK(contains(refused("{\"\xff\":0}"), "breaks at byte"));
  // What is unknown in it may be long; the sentence is not.
  CHECK(refused("{\"" + std::string(5000, 'k') + "\":0,\"" + std::string(5000, 'k') + "\":1}").size() < 200);
}

TEST_CASE("a safetensors header of many megabytes is read or refused soon", "[parsers]") {
  std::string header = "{";
  for (int i = 0; i < 40'000; i++)
    header += "\"t" + std::to_string(i) + R"(":{"dtype":"U8","shape":[1],"data_offsets":[)" + std::to_string(i) + "," +
              std::to_string(i + 1) + "]},";
  header.back() = '}';
  CHECK(seconds([&] { CHECK(parse_safetensors_header(header, 40'000, "'F'").size() == 40'000); }) < kSoonSeconds);
  auto refused = [](const std::string& text) { return error_text([&] { parse_safetensors_header(text, 8, "'F'"); }); };
  CHECK(refused(R"({"a":{"dtype":"U8","shape":[[[)") == "the header of 'F' is nested deeper than the 3 levels allowed");
  const std::string dimensions = repeated("1,", 500'000) + "1";
  CHECK(seconds([&] {
          CHECK(refused(R"({"a":{"dtype":"U8","shape":[)" + dimensions + R"(],"data_offsets":[0,8]}})").size() < 300);
        }) < kSoonSeconds);
}

TEST_CASE("tokens.json holds what it may hold", "[core][parsers]") {
  auto refused = [](const std::string& text) { return error_text([&] { parse_tokens_json(text, "F"); }); };
  CHECK(refused(R"({"vocab_size":4294967552})") ==
        "'F' has vocab_size = 4294967552; it must be an integer between 1 and 2147483647");
  for (const char* size : {"256.9", "true", "-1", "0", "\"256\"", "null", "[256]"})
    CHECK(contains(refused(std::string(R"({"vocab_size":)") + size + "}"), "'F' has vocab_size = "));
  CHECK(contains(refused(R"({"vocab_size":5,"bytes":{"val":-1}})"), "has bytes"));
  CHECK(contains(refused(R"({"vocab_size":5,"block_bytes":2.5})"), "has block_bytes"));
  CHECK(contains(refused(R"({"vocab_size":5,"sha256":{"val.bin":"abc"}})"), "64 lower-case hexadecimal digits"));
  CHECK(contains(refused(R"({"vocab_size":5,"vocab_size":6})"), "twice"));
  CHECK(contains(refused(R"({"vocab_size":5,"x":)" + std::string(100'000, '[')), "deeper"));
  CHECK(refused(R"({"vocab_size":5,"source":")" + std::string(100'000, '\x01')).size() < 200);
}

TEST_CASE("a file that is read as a whole is small and a file", "[core][parsers]") {
  TempDir dir;
  REQUIRE(mkfifo((dir / "pipe").c_str(), 0600) == 0);
  for (const std::string& path : {dir / "pipe", dir.path.string(), dir / "none"})
    CHECK(contains(error_text([&] { read_small_file(path); }), "is not a regular file"));
  write_file(dir / "large", "");
  std::filesystem::resize_file(dir / "large", kMostSmallFileBytes + 1);
  CHECK(contains(error_text([&] { read_small_file(dir / "large"); }), "at most 16777216 are allowed"));
  // A pipe among the token files is refused instead of being waited for.
  CHECK(contains(error_text([&] { TokenFile(dir / "pipe"); }), "is not a regular file"));
}

TEST_CASE("SHA256SUMS names printable files of its own folder", "[core][parsers]") {
  const std::string sum(64, 'a');
  auto refused = [&](const std::string& name) {
    return error_text([&] { parse_checksums(sum + "  " + name + "\n", "F"); });
  };
  CHECK(refused("config.json") == "");
  for (const std::string& name : {std::string("../a"), std::string("a\\b"), std::string("a\x1b[2J"),
                                  std::string("a\0b", 3), std::string("\xff"), std::string()})
    CHECK(contains(refused(name), "'F' is damaged: line 1"));
}

TEST_CASE("metrics hold counts, numbers and printable names", "[core][parsers]") {
  CHECK(read_lines(std::string(kStart) + "\n").state == RunState::kUnfinished);
  for (const char* step : {"-1", "9223372036854775808", "18446744073709551615", "1.5", "1e999", "null", "\"1\""})
    CHECK(refusal(std::string(R"({"event":"step","tokens":1,"loss":1,"step":)") + step + "}") != "");
  CHECK(contains(refusal(R"({"event":"step","tokens":1,"loss":1,"step":9007199254740993})"), "from 0 to 2^53"));
  CHECK(contains(refusal(R"({"event":"step","step":1,"step":2})"), "twice"));
  CHECK(contains(refusal(R"({"event":"end","status":)" + std::string(100'000, '[')), "deeper"));
  CHECK(contains(refusal(R"({"event":"eval","step":2,"split":"val","loss":1,"tokens":5})"
                         "\n"
                         R"({"event":"eval","step":1,"split":"val","loss":1,"tokens":5})"),
                 "two runs wrote"));

  auto with_options = [](const std::string& options) {
    return R"({"event":"start","schema":1,"normalizer":"softmax","options":{"seed":1,)" + options + "}}\n";
  };
  CHECK(contains(error_text([&] { read_lines(with_options(R"("batch-size":1e300,"seq-len":8,"grad-accum":1)")); }),
                 "tokens for each update that no run"));
  CHECK(contains(error_text([&] { read_lines(with_options(R"("batch-size":-1,"seq-len":8,"grad-accum":1)")); }),
                 "tokens for each update that no run"));

  const Run run = read_lines(
      R"({"event":"start","schema":1,"normalizer":"a\u001b[2J\nb","git":"\u009b","options":{"seed":1,"l\nr":"x\ty"}})"
      "\n");
  CHECK(run.normalizer == "a?[2J?b");
  CHECK(run.settings.at("git") == "?");
  CHECK(run.settings.at("l?r") == "x?y");
}

TEST_CASE("metrics of any size are read in little memory and soon", "[core][parsers]") {
  CHECK(contains(error_text([&] { read_lines(kStart + ("\n" + std::string((1 << 20) + 1, ' '))); }),
                 "has a line of more than 1048576 bytes"));

  std::string lines = std::string(kStart) + "\n", many = lines, events = lines;
  for (int i = 1; i <= 20'000; i++) {
    const std::string step = std::to_string(i);
    lines += R"({"event":"eval","step":)" + step +
             R"(,"split":"val","loss":1,"tokens":5})"
             "\n";
    lines += R"({"event":"resume","step":)" + step + "}\n";
    if (i <= 200) many += R"({"event":"eval","step":1,"split":"val","loss":1,"tokens":)" + step + "}\n";
    events += R"({"event":"event)" + step + "\"}\n";
  }
  CHECK(seconds([&] { CHECK(read_lines(lines).evals.size() == 20'000); }) < kSoonSeconds);
  CHECK(contains(error_text([&] { read_lines(many); }), "more than 100 evaluations of step 1"));
  const Run odd = read_lines(events);
  REQUIRE(odd.notes.size() == 4);
  CHECK(odd.notes.back() == "so were records of other unknown events");
}

TEST_CASE("the running mean of a long run takes no time", "[core][parsers]") {
  std::vector<double> values(300'000, 2.5);
  for (size_t i = 0; i < values.size(); i += 7) values[i] = NAN;
  std::vector<double> means;
  CHECK(seconds([&] { means = running_mean(values, 10'001); }) < kSoonSeconds);
  for (double mean : means)
    if (!(mean == 2.5) && !std::isnan(mean)) FAIL(mean);
  CHECK(std::isnan(means[0]));
  CHECK(means[150'000] == 2.5);
}

TEST_CASE("words reach a program as they were given", "[core][parsers]") {
  using Words = std::vector<std::string>;
  CHECK(parse(parse_compare_options, {"[a,b]", "[[]]", "c"}).runs == Words{"[a,b]", "[[]]", "c"});
  CHECK(parse(parse_prepare_options, {"--input", "[x,y]", "z", "--out", "o"}).inputs == Words{"[x,y]", "z"});
  CHECK(parse(parse_prepare_options, {"--input=[x,y]", "z", "--input", "w", "--out=o"}).inputs ==
        Words{"[x,y]", "z", "w"});
  CHECK(parse(parse_prepare_options, {"--out", "[o]", "--input", "x"}).out == "[o]");
  CHECK(contains(error_text([&] {
                   parse(parse_prepare_options, {"--corpus", "kvj", "--out", "o"});
                 }),
                 "--corpus is 'kvj'; it must be kjv, gcide or tinyshakespeare; the nearest is kjv"));
}

TEST_CASE("a path that the system refuses is bad input", "[core][parsers]") {
  TempDir dir;
  auto look_at = [](const std::string& path) {
    return run_program("test", [&] { return int(std::filesystem::is_regular_file(path)); });
  };
  CHECK(look_at(dir / "none") == 0);
  CHECK(look_at(dir / std::string(1000, 'x')) == 2);
}

TEST_CASE("a message about a long word is short", "[core][parsers]") {
  const std::string word(100'000, 'x'), unknown = "--" + word;
  TempDir dir;
  auto train = [](std::vector<std::string> words) {
    words.insert(words.begin(), {"train", "--data", "d"});
    std::vector<const char*> argv;
    for (const std::string& each : words) argv.push_back(each.c_str());
    return error_text([&] { parse_train_options(int(argv.size()), argv.data(), "softmax"); });
  };
  auto with_config = [&](const std::string& content) {
    write_file(dir / "c", content);
    return train({"--config", dir / "c"});
  };
  const std::string sentences[] = {train({"--lr", word}),
                                   train({"--preset", word}),
                                   train({unknown}),
                                   train({word}),
                                   train({"--seed", word, "--seed", word}),
                                   with_config(word),
                                   with_config(word + "=1"),
                                   with_config(word + "=\"1"),
                                   with_config("lr=" + word)};
  for (const std::string& sentence : sentences) {
    INFO(sentence);
    CHECK((sentence.size() > 10 && sentence.size() < 500));
  }
  CHECK(contains(with_config(repeated("# comment\n", 200'000)), "has more than 1048576 bytes"));
  CHECK(contains(train({"--lr", "\xff\x1b[2J"}), "--lr is '??[2J'"));
}
