#include "train/options.h"

#include <cmath>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "data/error.h"
#include "tests/catch.h"
#include "tests/temp_dir.h"
#include "train/build_info.h"
#include "train/command_line.h"
#include "train/memory.h"
#include "train/start.h"

namespace {

TrainOptions parse(std::vector<std::string> words, const std::string& normalizer = "softmax") {
  words.insert(words.begin(), "train");
  std::vector<const char*> argv;
  for (const std::string& word : words) argv.push_back(word.c_str());
  return parse_train_options(int(argv.size()), argv.data(), normalizer);
}

std::string text(const TrainOptions& options) { return options_to_json(options).dump(); }

// The sentence of the Error that `body` throws.
template <class Body>
std::string error_of(const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}
std::string parse_error(const std::vector<std::string>& words) {
  return error_of([&] { parse(words); });
}

// Each command line, with --data d before it, must give its sentence.
void check_errors(const std::vector<std::pair<std::vector<std::string>, std::string>>& cases) {
  for (const auto& [words, sentence] : cases) {
    std::vector<std::string> line = {"--data", "d"};
    line.insert(line.end(), words.begin(), words.end());
    CHECK(parse_error(line) == sentence);
  }
}

// Each command line, with --data d before it, must give these values, a JSON object.
void check_values(const std::vector<std::pair<std::vector<std::string>, std::string>>& cases) {
  for (const auto& [words, values] : cases) {
    std::vector<std::string> line = {"--data", "d"};
    line.insert(line.end(), words.begin(), words.end());
    nlohmann::ordered_json options = options_to_json(parse(line));
    const auto expected = nlohmann::ordered_json::parse(values);
    for (const auto& [name, value] : expected.items())
      CHECK(name + " " + options[name].dump() == name + " " + value.dump());
  }
}

// What run_program prints and returns.
struct Ended {
  int code;
  std::string out, err;
};
Ended run(const std::function<int()>& body) {
  std::ostringstream out, err;
  std::streambuf* old_out = std::cout.rdbuf(out.rdbuf());
  std::streambuf* old_err = std::cerr.rdbuf(err.rdbuf());
  int code = run_program("train", body);
  std::cout.rdbuf(old_out);
  std::cerr.rdbuf(old_err);
  return {code, out.str(), err.str()};
}

}  // namespace

TEST_CASE("every program ends with one sentence and its exit code", "[core][options]") {
  auto ended = [](auto thrown) { return run([&]() -> int { throw thrown; }); };
  Ended error = ended(Error("--lr is '0'; it must be a number above 0"));
  CHECK(error.code == 2);
  CHECK(error.err == "train: --lr is '0'; it must be a number above 0\n");
  CHECK(error.out == "");
  CHECK(ended(Failure("the disk is full")).code == 1);
  CHECK(ended(Failure("the disk is full")).err == "train: the disk is full\n");
  CHECK(ended(std::bad_alloc()).code == 1);
  CHECK(ended(std::bad_alloc()).err == "train: the machine has not enough memory for this\n");
  CHECK(ended(std::out_of_range("index 7")).code == 1);
  CHECK(ended(std::out_of_range("index 7")).err == "train: stopped unexpectedly: index 7\n");
  CHECK(run([] { return 0; }).code == 0);
}

TEST_CASE("--help and --version print and end with 0", "[core][options]") {
  Ended help = run([] { return parse({"--help"}).steps; });
  CHECK(help.code == 0);
  CHECK(help.err == "");
  for (const char* part : {"--steps", "=600", "--lr", "=0.004", "--rope-theta", "=10000", "LR/10", "--config",
                           "--resume", "normalizer is softmax"})
    CHECK(help.out.find(part) != std::string::npos);
  Ended version = run([] { return parse({"--version"}).steps; });
  CHECK(version.code == 0);
  CHECK(version.out == "train of attnorm " + version_text() + "\n");
}

TEST_CASE("a wrong word on the command line gets a sentence that helps", "[core][options]") {
  check_errors({
      {{"--stpes", "5"}, "--stpes is not an option of train; the nearest is --steps"},
      {{"--batch=5"}, "--batch is not an option of train; the nearest is --batch-size"},
      {{"-lr", "5"}, "-lr is not an option of train; the nearest is --lr"},
      {{"--qqqqqq"}, "--qqqqqq is not an option of train; train --help lists them"},
      {{"kjv"}, "'kjv' belongs to no option of train; options start with --"},
      {{"--steps"}, "--steps needs a value: an integer from 0 to 2147483647"},
      {{"--steps=", "5"}, "--steps needs a value: an integer from 0 to 2147483647"},
      {{"--out", "--resume"}, "--out needs a value: not empty"},
      {{"--lr", "1", "--lr", "2"}, "--lr is given twice ('1' and '2'); give it once"},
      {{"--config"}, "--config needs a value: an existing file"},
  });
}

TEST_CASE("a value that an option does not take is named with what it takes", "[core][options]") {
  check_errors({
      {{"--layers", "four"}, "--layers is 'four'; it must be an integer from 1 to 2147483647"},
      {{"--layers", "0"}, "--layers is '0'; it must be an integer from 1 to 2147483647"},
      {{"--layers", "-3"}, "--layers is '-3'; it must be an integer from 1 to 2147483647"},
      {{"--layers", "4.0"}, "--layers is '4.0'; it must be an integer from 1 to 2147483647"},
      {{"--layers", " 4"}, "--layers is ' 4'; it must be an integer from 1 to 2147483647"},
      {{"--layers", "2147483648"}, "--layers is '2147483648'; it must be an integer from 1 to 2147483647"},
      {{"--seed", "-1"}, "--seed is '-1'; it must be an integer from 0 to 18446744073709551615"},
      {{"--lr", "0"}, "--lr is '0'; it must be a number above 0"},
      {{"--lr", "-1e-3"}, "--lr is '-1e-3'; it must be a number above 0"},
      {{"--lr", "nan"}, "--lr is 'nan'; it must be a number above 0"},
      {{"--lr", "1e999"}, "--lr is '1e999'; it must be a number above 0"},
      {{"--lr", "0x1p3"}, "--lr is '0x1p3'; it must be a number above 0"},
      {{"--lr", "1,5"}, "--lr is '1,5'; it must be a number above 0"},
      {{"--lr", ""}, "--lr is ''; it must be a number above 0"},
      {{"--beta1", "1"}, "--beta1 is '1'; it must be a number from 0 to below 1"},
      {{"--beta1", "-0.1"}, "--beta1 is '-0.1'; it must be a number from 0 to below 1"},
      {{"--min-lr", "-1"}, "--min-lr is '-1'; it must be a number of at least 0"},
      {{"--out", ""}, "--out is ''; it must be not empty"},
      {{"--order", "suffled"}, "--order is 'suffled'; it must be shuffled or sequential; the nearest is shuffled"},
      {{"--position", "rotary"}, "--position is 'rotary'; it must be learned, rope, alibi or none"},
      {{"--preset", "smal"},
       "--preset is 'smal'; it must be tiny, small, char, gpt2 or gpt2-ssmax; the nearest is small"},
      {{"--untied=maybe"}, "--untied is 'maybe'; it must be true or false"},
  });
}

TEST_CASE("options that contradict each other are refused", "[core][options]") {
  CHECK(parse_error({}) == "train needs --data DIR or --text FILE to train on");
  check_errors({
      {{"--text", "b"}, "--data 'd' and --text 'b' exclude each other; give one of them"},
      {{"--steps", "60"}, "--warmup-steps is 60; it must be below --steps, which is 60"},
      {{"--steps", "61"}, "no error"},
      {{"--steps", "0"}, "no error"},
      {{"--lr", "1e-3", "--min-lr", "2e-3"}, "--min-lr is 0.002; it must be at most --lr, which is 0.001"},
      {{"--check-from", "600"}, "no error"},
      {{"--check-from", "601"}, "--check-from is 601; it must be at most --steps, which is 600"},
      {{"--check-from", "-1"}, "--check-from is '-1'; it must be an integer from 0 to 2147483647"},
      {{"--init-noise", "1e-6"}, "no error"},
      {{"--init-noise", "0", "--init-from", "a"}, "no error"},
      {{"--init-noise", "-1"}, "--init-noise is '-1'; it must be a number of at least 0"},
      {{"--init-noise", "1e-6", "--init-from", "a"},
       "--init-noise is 1e-06, but --init-from 'a' has weights that are taken as they are; it must be 0 there"},
      {{"--init-noise", "1e-6", "--continue-from", "b"},
       "--init-noise is 1e-06, but --continue-from 'b' has weights that are taken as they are; it must be 0 there"},
      {{"--init-from", "a", "--resume"}, "--init-from and --resume exclude each other; give one of them"},
      {{"--init-from", "a", "--continue-from", "b", "--resume"},
       "--init-from, --continue-from and --resume exclude each other; give one of them"},
  });
}

TEST_CASE("presets hold what the README's table says and the rest follows", "[core][options]") {
  CHECK(text(parse({"--data", "d"})) == text(parse({"--data", "d", "--preset", "small"})));
  CHECK(parse({"--data", "d"}).out == "runs/small-softmax-s1");
  CHECK(parse({"--data", "d", "--preset", "tiny", "--seed", "7"}, "ssmax").out == "runs/tiny-ssmax-s7");
  check_values({
      {{"--preset", "tiny"}, R"({"layers":2,"heads":2,"channels":32,"seq-len":32,"position":"learned","untied":false,
       "batch-size":4,"grad-accum":1,"steps":50,"lr":0.003,"schedule":"cosine","warmup-steps":5,"beta2":0.95})"},
      {{}, R"({"layers":4,"heads":4,"channels":128,"seq-len":256,"position":"rope","untied":false,
       "batch-size":16,"grad-accum":1,"steps":600,"lr":0.004,"schedule":"cosine","warmup-steps":60,"beta2":0.95,
       "beta1":0.9,"weight-decay":0.1,"grad-clip":1.0,"seed":1,"data-seed":1,"min-lr":0.0004})"},
      {{"--preset", "char"}, R"({"layers":6,"heads":6,"channels":384,"seq-len":256,"position":"learned","untied":false,
       "batch-size":64,"grad-accum":1,"steps":5000,"lr":0.001,"schedule":"cosine","warmup-steps":100,"beta2":0.99})"},
      {{"--preset", "gpt2"},
       R"({"layers":12,"heads":12,"channels":768,"seq-len":1024,"position":"learned","untied":false,
       "batch-size":4,"grad-accum":120,"steps":19073,"lr":0.0006,"schedule":"cosine","warmup-steps":700,"beta2":0.95})"},
      {{"--preset", "gpt2-ssmax"}, R"({"layers":12,"heads":12,"channels":768,"seq-len":1024,"position":"rope",
       "untied":true,"batch-size":4,"grad-accum":512,"steps":10000,"lr":0.0006,"schedule":"constant",
       "warmup-steps":1000,"beta2":0.95})"},
      {{"--preset", "gpt2-ssmax", "--untied=false"}, R"({"untied":false,"heads":12})"},
      {{"--seed", "7"}, R"({"seed":7,"data-seed":7})"},
      {{"--seed", "18446744073709551615", "--data-seed", "3"}, R"({"seed":18446744073709551615,"data-seed":3})"},
      {{"--lr", "0.5"}, R"({"lr":0.5,"min-lr":0.05})"},
      {{"--lr", "0.5", "--min-lr", "0"}, R"({"lr":0.5,"min-lr":0.0})"},
  });
}

TEST_CASE("the command line goes before the file, the file before the preset", "[core][options]") {
  TempDir folder;
  write_file(
      folder / "run.ini",
      "# a comment\n\n  preset = tiny  ; another\nlayers=3\nuntied=true\n data = \"a # \\\"b\\\", c\"\r\nlr=5e-3\n");
  TrainOptions o = parse({"--config", folder / "run.ini", "--lr", "1e-3"});
  CHECK((o.lr == 1e-3 && o.min_lr == 1e-4 && o.layers == 3 && o.channels == 32 && o.untied));
  CHECK(o.data == "a # \"b\", c");
  CHECK(o.out == "runs/tiny-softmax-s1");
  CHECK(o.given == std::set<std::string>{"preset", "layers", "untied", "data", "lr"});
  CHECK(parse({"--preset", "char", "--config", folder / "run.ini"}).channels == 384);

  o = parse({"--config", folder / "run.ini", "--text", "t.txt"});
  CHECK((o.text == "t.txt" && o.data == "" && o.given.count("data") == 0));
}

TEST_CASE("what is wrong with a --config file is said with its line", "[core][options]") {
  TempDir folder;
  std::string file = folder / "run.ini", no_option = ", which is no option that a file can give; ";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"layers=5", "no error"},
      {"seed=1\nlearning-rte=1\n", file + " line 2 gives learning-rte" + no_option + "train --help lists them"},
      {"stesp=1\n", file + " line 1 gives stesp" + no_option + "the nearest is steps"},
      {"batch_size=1\n", file + " line 1 gives batch_size" + no_option + "the nearest is batch-size"},
      {"resume=true\n", file + " line 1 gives resume" + no_option + "train --help lists them"},
      {"check-from=1\n", file + " line 1 gives check-from" + no_option + "the nearest is init-from"},
      {"dry-run=true\n", file + " line 1 gives dry-run" + no_option + "train --help lists them"},
      {"config=c\n", file + " line 1 gives config" + no_option + "train --help lists them"},
      {"layers=x\n", "layers in " + file + " is 'x'; it must be an integer from 1 to 2147483647"},
      {"layers=1\nseed=2\nlayers=2\n", file + " line 3 gives layers again; line 1 has it already"},
      {"[model]\nlayers=1\n", file + " line 1 is '[model]'; it must be name=value"},
      {"=1\n", file + " line 1 is '=1'; it must be name=value"},
      {"data=\"d\n", file + " line 1 gives data a value with an unclosed or inner quote; write \"...\""},
  };
  for (const auto& [content, sentence] : cases) {
    write_file(file, content);
    CHECK(parse_error({"--data", "d", "--config", file}) == sentence);
  }
  for (const std::string& path : {folder / "none.ini", folder.path.string()})
    CHECK(parse_error({"--config", path}) == "--config is '" + path + "'; it must be an existing file");
}

TEST_CASE("options.ini repeats the run", "[core][options]") {
  TempDir folder;
  std::string third = text_of(1.0 / 3);
  TrainOptions first = parse({"--data", "d \"x\\y\" # é\nz", "--preset", "char", "--lr", third, "--beta1", "0.1",
                              "--seed", "18446744073709551615", "--untied", "--init-from", "some run", "--out", "one"});
  write_options_ini(folder / "options.ini", first);
  TrainOptions second = parse({"--config", folder / "options.ini", "--out", "two"});
  CHECK(second.out == "two");
  CHECK(second.lr == 1.0 / 3);
  second.out = "one";
  CHECK(text(second) == text(first));
  CHECK(text(parse({"--config", folder / "options.ini"})) == text(first));
  CHECK_THROWS_AS(write_options_ini(folder / "none/options.ini", first), Failure);
}

TEST_CASE("doubles are written as the shortest text that reads back", "[core][options]") {
  CHECK(shortest_text(0.1) == "0.1");
  CHECK(shortest_text(2e-3) == "0.002");
  CHECK(shortest_text(10000) == "10000");
  CHECK(shortest_text(123456.5) == "123456.5");
  CHECK(shortest_text(0) == "0");
  CHECK(shortest_text(1e300) == "1e+300");
  for (double value : {1.0 / 3, 2.0 / 3 * 1e-7, 5e-324, 1.7976931348623157e308, -0.1 - 0.2, 1e15 - 0.125}) {
    double back = 0;
    CHECK(read_value(shortest_text(value), back));
    CHECK(back == value);
  }
}

TEST_CASE("JSON holds every option and is read strictly", "[core][options]") {
  TrainOptions options = parse({"--text", "t", "--lr", "0.3333333333333333", "--seed", "18446744073709551615"});
  const auto json = nlohmann::ordered_json::parse(text(options));
  CHECK(text(options_from_json(json, "f")) == text(options));
  CHECK(options_from_json(json, "f").lr == options.lr);
  CHECK_FALSE(json.contains("resume"));

  auto wrong = [&](const std::string& change) {  // RFC 7396: null removes a key
    nlohmann::ordered_json changed = json;
    changed.merge_patch(nlohmann::ordered_json::parse(change));
    return error_of([&] { options_from_json(changed, "s.json"); });
  };
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"({"layers":"4"})", "layers in the options of s.json is '4'; it must be an integer from 1 to 2147483647"},
      {R"({"layers":0})", "layers in the options of s.json is '0'; it must be an integer from 1 to 2147483647"},
      {R"({"layers":4.5})", "layers in the options of s.json is '4.5'; it must be an integer from 1 to 2147483647"},
      {R"({"lr":[1]})", "lr in the options of s.json is '[1]'; it must be a number above 0"},
      {R"({"untied":1})", "untied in the options of s.json is '1'; it must be true or false"},
      {R"({"data":1})", "data in the options of s.json is '1'; it must be text"},
      {R"({"order":"none"})", "order in the options of s.json is 'none'; it must be shuffled or sequential"},
      {R"({"dropout":0.1})", "'dropout' in the options of s.json is not an option of train"},
      {R"({"heads":null})", "heads in the options of s.json is missing"},
      {"3", "the options in s.json must be a JSON object"},
  };
  for (const auto& [change, sentence] : cases) CHECK(wrong(change) == sentence);
}

TEST_CASE("JSON from before there was an option is read, and means without", "[core][options]") {
  auto json =
      nlohmann::ordered_json::parse(text(parse({"--text", "t", "--tf32", "--checkpoint-sync", "--init-noise", "0.5"})));
  CHECK(options_from_json(json, "f").tf32);
  CHECK(options_from_json(json, "f").checkpoint_sync);
  CHECK(options_from_json(json, "f").init_noise == 0.5);
  json.erase("tf32");
  json.erase("checkpoint-sync");
  json.erase("init-noise");
  CHECK_FALSE(options_from_json(json, "f").tf32);
  CHECK_FALSE(options_from_json(json, "f").checkpoint_sync);
  CHECK(options_from_json(json, "f").init_noise == 0);
  CHECK(newer_options() == nlohmann::ordered_json{{"init-noise", 0.0}, {"tf32", false}, {"checkpoint-sync", false}});
}

TEST_CASE("--resume takes every option from the run but the few that may change", "[core][options]") {
  TempDir folder;
  std::string data = folder / "d", other = folder / "e";
  std::filesystem::create_directory(data);
  std::filesystem::create_directory(other);
  TrainOptions saved = parse({"--data", data, "--preset", "tiny", "--layers", "3", "--out", "r"});

  TrainOptions merged = merge_resume(saved, parse({"--out", "moved/r", "--resume"}));
  CHECK(merged.resume);
  CHECK(merged.out == "moved/r");
  merged.out = "r";
  CHECK(text(merged) == text(saved));

  merged = merge_resume(saved, parse({"--out",    "r",
                                      "--resume", "--steps",
                                      "70",       "--threads",
                                      "3",        "--log-every",
                                      "1",        "--eval-every",
                                      "2",        "--eval-tokens",
                                      "99",       "--attention-every",
                                      "4",        "--checkpoint-every",
                                      "6",        "--keep",
                                      "5",        "--layers",
                                      "3",        "--dry-run"}));
  CHECK((merged.steps == 70 && merged.threads == 3 && merged.log_every == 1 && merged.eval_every == 2));
  CHECK((merged.eval_tokens == 99 && merged.attention_every == 4 && merged.checkpoint_every == 6 && merged.keep == 5));
  CHECK((merged.layers == 3 && merged.channels == 32 && merged.dry_run));

  merged = merge_resume(saved, parse({"--out", "r", "--resume", "--check-from", "50"}));
  CHECK(merged.check_from == 50);
  CHECK(text(merged) == text(saved));  // it is not saved

  auto refused = [&](std::vector<std::string> words) {
    words.insert(words.end(), {"--out", "r", "--resume"});
    return error_of([&] { merge_resume(saved, parse(words)); });
  };
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"--lr", "1e-4"}, "--lr is 0.0001, but the run in r has 0.003; --resume keeps it"},
      {{"--batch-size", "5"}, "--batch-size is 5, but the run in r has 4; --resume keeps it"},
      {{"--preset", "small"}, "--preset is 'small', but the run in r has 'tiny'; --resume keeps it"},
      {{"--untied"}, "--untied is true, but the run in r has false; --resume keeps it"},
      {{"--text", "t"}, "--text is 't', but the run in r has none; --resume keeps it"},
      {{"--check-from", "51"}, "--check-from is 51; it must be at most --steps, which is 50"},
      {{"--data", other}, "--data is '" + other + "', but the run in r has '" + data + "'; --resume keeps it"},
      {{"--data", data + "/../d"}, "no error"},
      {{"--steps", "5"}, "--warmup-steps is 5; it must be below --steps, which is 5"},
  };
  for (const auto& [words, sentence] : cases) CHECK(refused(words) == sentence);
  // Every option that is not in the short list above is refused: none was forgotten.
  const nlohmann::ordered_json values = options_to_json(saved);
  for (const auto& [name, value] : values.items()) {
    if (saved.given.count(name)) continue;
    nlohmann::ordered_json changed = values;
    if (value.is_boolean())
      changed[name] = !value.get<bool>();
    else if (value.is_number_float())
      changed[name] = value.get<double>() / 2 + 1e-3;
    else if (value.is_number())
      changed[name] = value.get<int64_t>() + 1;
    else if (name == "order")
      changed[name] = "sequential";
    else if (name == "position")
      changed[name] = "none";
    else if (name == "schedule")
      changed[name] = "constant";
    else
      changed[name] = "else";
    TrainOptions asked = options_from_json(changed, "f");
    asked.given = {name};
    std::string sentence = error_of([&] { merge_resume(saved, asked); });
    bool flexible =
        std::set<std::string>{"steps",           "threads",          "log-every", "eval-every",     "eval-tokens",
                              "attention-every", "checkpoint-every", "keep",      "checkpoint-sync"}
            .count(name);
    INFO(name);
    CHECK((sentence == "no error") == flexible);
  }
}

TEST_CASE("a run that started from another is resumed although its options name the other", "[core][options]") {
  TempDir folder;
  TrainOptions saved = parse({"--data", "d", "--init-from", "x", "--out", folder / "r"});
  CHECK(merge_resume(saved, parse({"--out", folder / "r", "--resume"})).init_from == "x");
  write_options_ini(folder / "options.ini", saved);
  CHECK(merge_resume(saved, parse({"--config", folder / "options.ini", "--resume"})).init_from == "x");
}

TEST_CASE("the shape comes from the checkpoint unless an option contradicts it", "[core][options]") {
  Config checkpoint;
  checkpoint.L = 2;
  checkpoint.NH = 3;
  checkpoint.C = 12;
  checkpoint.T = 64;
  checkpoint.V = 300;
  checkpoint.position = Position::kLearned;
  checkpoint.tied = false;
  TrainOptions o = parse({"--data", "d", "--layers", "2", "--init-from", "c"});
  take_shape(o, checkpoint, "c");
  CHECK((o.layers == 2 && o.heads == 3 && o.channels == 12 && o.seq_len == 64 && o.vocab_size == 300));
  CHECK((o.position == "learned" && o.untied));
  o = parse({"--data", "d", "--seq-len", "32", "--init-from", "c"});
  take_shape(o, checkpoint, "c");
  CHECK(o.seq_len == 32);

  auto refused = [&](const std::string& option, const std::string& value) {
    TrainOptions options = parse({"--data", "d", "--" + option, value, "--init-from", "c"});
    return error_of([&] { take_shape(options, checkpoint, "c"); });
  };
  CHECK(refused("layers", "4") == "--layers is 4, but the checkpoint c has 2; leave the option out");
  CHECK(refused("position", "rope") == "--position is rope, but the checkpoint c has learned; leave the option out");
  CHECK(refused("vocab-size", "256") == "--vocab-size is 256, but the checkpoint c has 300; leave the option out");
  CHECK(refused("vocab-size", "0") == "no error");
}

TEST_CASE("what is learned for each length binds the model to the checkpoint's lengths", "[core][options]") {
  // A checkpoint of T = 64 goes on with sequences of `seq_len`, with learned scales of lengths or without.
  auto completed = [](Position position, bool had_scales, bool has_scales, int seq_len) {
    Start start;
    start.checkpoint = "c";
    start.config.T = 64;
    start.config.position = position;
    start.config.length_scale = had_scales;
    start.options.seq_len = seq_len;
    complete_config(start, 256, has_scales ? "learned_scale" : "softmax", has_scales ? 2 : 0, has_scales);
    CHECK(start.config.length_scale == has_scales);
    return start.config.T;
  };
  CHECK(completed(Position::kRope, false, false, 100) == 100);
  CHECK(completed(Position::kRope, false, true, 100) == 100);  // new scales, for the run's own lengths
  CHECK(completed(Position::kRope, true, false, 100) == 100);  // the checkpoint's are dropped
  CHECK(completed(Position::kRope, true, true, 64) == 64);
  CHECK(completed(Position::kRope, true, true, 30) == 64);
  CHECK(completed(Position::kLearned, false, true, 30) == 64);
  CHECK(error_of([&] { completed(Position::kRope, true, true, 65); }) ==
        "--seq-len is 65, but learned_scale in the checkpoint has a scale for each of 64 context sizes; use at most "
        "that");
  CHECK(error_of([&] { completed(Position::kLearned, true, true, 65); }) ==
        "--seq-len is 65, but the checkpoint has learned positions for 64 tokens; use at most that");

  Config model;
  CHECK_NOTHROW(require_learned_lengths(model, 512, "the model"));
  model.normalizer = "learned_scale";
  model.length_scale = true;
  CHECK_NOTHROW(require_learned_lengths(model, 256, "the model"));
  CHECK(error_of([&] { require_learned_lengths(model, 512, "the model"); }) ==
        "--seq-len is 512, but learned_scale in the model has a scale for each of 256 context sizes; use at most that");
}

TEST_CASE("other programs take lists, words without a name and required options", "[core][options]") {
  std::vector<std::string> runs, inputs;
  std::string prompt, corpus;
  int tokens = 7;
  auto read = [&](std::vector<const char*> words) {
    runs.clear();
    CommandLine line("compare", "compare runs");
    line.add_positional("RUN", runs, "folders of runs");
    line.add("input", inputs, "text files");
    line.add("prompt", prompt, "text to go on from").required();
    line.add("tokens", tokens, "tokens to write", positive<int>());
    line.add("corpus", corpus, "a file", existing_file());
    words.insert(words.begin(), "compare");
    line.parse(int(words.size()), words.data());
  };
  read({"a", "b", "--prompt", "-x", "c", "--input", "1", "2", "--tokens", "9"});
  CHECK(runs == std::vector<std::string>{"a", "b", "c"});
  CHECK(inputs == std::vector<std::string>{"1", "2"});
  CHECK(prompt == "-x");
  CHECK(tokens == 9);
  read({"--prompt=--tokens"});
  CHECK(prompt == "--tokens");
  read({"--prompt", ""});
  CHECK(prompt == "");
  CHECK(error_of([&] { read({"a"}); }) == "--prompt is missing; compare needs it");
  CHECK(error_of([&] {
          read({"--prompt", "p", "--corpus", "none"});
        }) == "--corpus is 'none'; it must be an existing file");
  CHECK(error_of([&] { read({"--prompt", "--", "a"}); }) == "--prompt needs a value: text");
}

TEST_CASE("lists of numbers are one word, read strictly", "[core][options]") {
  std::vector<int> lengths = {1, 2};
  std::vector<double> depths = {0.25, 1};
  CHECK(text_of(lengths) == "1,2");
  CHECK(text_of(depths) == "0.25,1");
  auto read = [&](const std::string& name, const std::string& text) {
    const std::string word = "--" + name + "=" + text;
    const char* words[] = {"evaluate", word.c_str()};
    CommandLine line("evaluate", "lists");
    line.add("lengths", lengths, "integers", list_of_each(at_least(32)));
    line.add("depths", depths, "numbers", list_of_each(fraction()));
    line.parse(2, words);
  };
  read("lengths", "256,32,2147483647");
  CHECK(lengths == std::vector<int>{256, 32, 2147483647});
  read("lengths", "64");
  CHECK(lengths == std::vector<int>{64});
  read("depths", "0,.5,1e-3");
  CHECK(depths == std::vector<double>{0, 0.5, 1e-3});
  for (const char* text :
       {"64,", ",64", "64,,64", ",", "64 ,64", "64;64", "31", "64,31", "2147483648", "6.5", "[64]", "x"})
    CHECK(error_of([&] { read("lengths", text); }) ==
          "--lengths is '" + std::string(text) +
              "'; it must be one or more, with commas between them, each an integer from 32 to 2147483647");
  for (const char* text : {"0,1", "-1", "nan", "0.5,", "0,0x1"})
    CHECK(error_of([&] { read("depths", text); }) ==
          "--depths is '" + std::string(text) +
              "'; it must be one or more, with commas between them, each a number from 0 to below 1");
}

TEST_CASE("the nearest name is the one with the fewest edits", "[core][options]") {
  std::vector<std::string> names = {"softmax", "ssmax", "sinmax", "sin2max"};
  CHECK(nearest("sofmtax", names) == "softmax");
  CHECK(nearest("ssmx", names) == "ssmax");
  CHECK(nearest("sin2", names) == "sin2max");
  CHECK(nearest("entmax-alpha", names) == "");
  CHECK(nearest("x", {}) == "");
}

TEST_CASE("the binary says what it is and runs on this CPU", "[core][options]") {
  CHECK(version_text() ==
        std::string(kVersion) + " (git " + git_text() + ", " + compiler_text() + ", " + simd_text() + ")");
  CHECK_FALSE(git_text().empty());
  CHECK((compiler_text().rfind("g++ ", 0) == 0 || compiler_text().rfind("clang++ ", 0) == 0));
  CHECK(cpu_problem() == nullptr);
}
