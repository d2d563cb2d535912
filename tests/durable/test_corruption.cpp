// Checkpoints and token files in which something has changed, as the programs meet them: which one is damaged is said,
// and nothing goes on from it.
#include <algorithm>
#include <iostream>

#include "tests/catch.h"
#include "tests/durable/runs.h"
#include "tests/error_text.h"
#include "train/checkpoint.h"

namespace fs = std::filesystem;

namespace {

const Words kStart = Words{"ssmax/train", "--preset", "tiny", "--data", "../data", "--out", "run", "--steps", "12"} +
                     Words{"--checkpoint-every", "4", "--keep", "0", "--eval-tokens", "500", "--threads", "1"};
const Words kResume = {"ssmax/train", "--out", "run", "--resume"};

constexpr const char* kFiles[] = {"config.json", "model.safetensors", "optimizer.safetensors", "trainer_state.json",
                                  "SHA256SUMS"};

std::string checkpoint(int step) { return "run/checkpoints/step-0000000" + std::to_string(step); }

// Changes one bit in the middle of a file.
void damage(const std::string& path) {
  std::string content = read_file(path);
  content[content.size() / 2] ^= 1;
  write_file(path, content);
}

bool says(const Ended& ended, const std::string& text) { return contains(ended.out + ended.err, text); }

}  // namespace

TEST_CASE("any change to a checkpoint is noticed", "[durable][corruption]") {
  Workshop workshop;
  const Words small = {"--layers", "1", "--channels", "8"};  // tensors are hashed anew for every change
  REQUIRE(workshop.end(kStart + small).code == 0);
  const std::string folder = workshop / ("work/" + checkpoint(8)), other = workshop / ("work/" + checkpoint(4));
  int changes = 0, unnoticed = 0;
  auto look = [&] {
    changes++;
    unnoticed += error_text([&] { verify_checkpoint(folder, CheckpointUse::kTraining); }).empty();
  };
  Dice dice(1);
  for (const std::string name : kFiles) {
    INFO(name);
    const std::string path = folder + "/" + name, content = read_file(path);
    auto flip = [&](size_t byte, int bit) {
      std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
      auto put = [&](char c) { file.seekp(std::streamoff(byte)).put(c).flush(); };
      put(char(content[byte] ^ (1 << bit)));
      look();
      put(content[byte]);
    };
    // Every bit of small files and of the headers of tensors; some thousands in the tensors.
    const bool tensors = name.ends_with(".safetensors");
    const size_t all = tensors ? 8 + size_t(uint8_t(content[0])) + 256 * size_t(uint8_t(content[1])) : content.size();
    for (size_t byte = 0; byte < all; byte++)
      for (int bit = 0; bit < 8; bit++) flip(byte, bit);
    for (int i = 0; i < 2000 && tensors; i++) flip(all + dice.below(content.size() - all), int(dice.below(8)));

    auto change = [&](const std::string& text) {
      write_file(path, text);
      look();
    };
    for (size_t size = 0; size < content.size(); size += 1 + content.size() / 300) change(content.substr(0, size));
    change(content.substr(0, content.size() - 1));
    change(content + '\0');
    change(content + '\n');
    change(content + content);
    fs::remove(path);
    look();
    if (name != "config.json") change(read_file(other + "/" + name));  // of another update; the shape is the same
    write_file(path, content);
    CHECK(unnoticed == 0);
    CHECK_NOTHROW(verify_checkpoint(folder, CheckpointUse::kTraining));
  }
  // Files that have changed places.
  for (const std::string a : kFiles)
    for (const std::string b : kFiles) {
      if (a == b) continue;
      fs::rename(folder + "/" + a, folder + "/away");
      fs::rename(folder + "/" + b, folder + "/" + a);
      fs::rename(folder + "/away", folder + "/" + b);
      look();
      fs::rename(folder + "/" + a, folder + "/away");
      fs::rename(folder + "/" + b, folder + "/" + a);
      fs::rename(folder + "/away", folder + "/" + b);
    }
  CHECK(unnoticed == 0);
  CHECK_NOTHROW(verify_checkpoint(folder, CheckpointUse::kTraining));
  std::cout << changes << " changes of a checkpoint, each noticed\n";
}

TEST_CASE("a run goes on from its newest intact checkpoint, and nothing else starts from a damaged one",
          "[core][durable]") {
  Workshop workshop;
  const Result expected = undisturbed(workshop, kStart);
  fs::remove_all(workshop / "work/run/checkpoints/step-00000012");  // as if it had been killed before
  fs::rename(workshop.run(), workshop / "whole");
  for (const std::string name : kFiles) {
    workshop.replace_run(workshop / "whole");
    const std::string path = checkpoint(8) + "/" + name;
    damage(workshop / ("work/" + path));
    const std::string named = name == "SHA256SUMS" ? checkpoint(8) : path;  // a changed hash names the file it is of

    for (const std::string from : {"--init-from", "--continue-from"}) {
      for (const std::string& source : {std::string("run"), checkpoint(8)}) {
        const Ended ended = workshop.end(
            {"ssmax/train", "--preset", "tiny", "--data", "../data", "--out", "other", from, source, "--steps", "20"});
        INFO(from << " " << source << ": " << ended.text());
        CHECK(ended.code == 2);
        CHECK(std::count(ended.err.begin(), ended.err.end(), '\n') == 1);
        CHECK(says(ended, named));
        if (source == "run") CHECK(says(ended, checkpoint(4)));
        CHECK_FALSE(fs::exists(workshop / "work/other"));
      }
    }
    const Ended evaluated = workshop.end({"ssmax/evaluate", "--checkpoint", "run", "--data", "../data"});
    INFO(evaluated.out << evaluated.text());
    CHECK(evaluated.code == 0);
    CHECK(says(evaluated, named));
    CHECK(says(evaluated, checkpoint(4)));

    const Ended resumed = workshop.end(kResume);
    INFO(resumed.text());
    CHECK(resumed.code == 0);
    CHECK(says(resumed, named));
    CHECK(says(resumed, "damaged"));
    CHECK(difference(Result(workshop.run()), expected) == "");
  }
}

TEST_CASE("a run without an intact checkpoint does not go on", "[core][durable]") {
  Workshop workshop;
  REQUIRE(workshop.end(kStart).code == 0);
  for (const auto& entry : fs::directory_iterator(workshop.run() + "/checkpoints"))
    damage(entry.path().string() + "/model.safetensors");
  const std::string metrics = read_file(workshop.run() + "/metrics.jsonl");
  const Ended ended = workshop.end(kResume + Words{"--steps", "20"});
  INFO(ended.text());
  CHECK(ended.code == 2);
  CHECK(says(ended, "model.safetensors"));
  CHECK(read_file(workshop.run() + "/metrics.jsonl") == metrics);
  CHECK(leftovers(workshop.run()).empty());
}

TEST_CASE("data that has changed is noticed where a run goes on", "[core][durable]") {
  const bool recorded = GENERATE(true, false);
  INFO((recorded ? "with" : "without") << " tokens.json");
  Workshop workshop;
  if (!recorded) fs::remove(workshop / "data/tokens.json");  // as with files written for llm.c
  REQUIRE(workshop.end(kStart + (recorded ? Words{} : Words{"--vocab-size", "256"})).code == 0);
  fs::rename(workshop.run(), workshop / "whole");
  const Words more = kResume + Words{"--steps", "16"};
  auto resume = [&] {
    workshop.replace_run(workshop / "whole");
    return workshop.end(more);
  };
  REQUIRE(resume().code == 0);
  const Result expected(workshop.run());

  for (const std::string name : {"train.bin", "val.bin", "test.bin", "tokens.json"}) {
    const std::string path = workshop / ("data/" + name);
    if (!fs::exists(path)) continue;
    const std::string content = read_file(path);
    auto changed = [&](const std::string& other) {
      write_file(path, other);
      const Ended ended = resume();
      INFO(name << ": " << ended.text());
      if (ended.code == 0 && name == "tokens.json") {  // what it says of a text's origin is of no consequence
        CHECK(difference(Result(workshop.run()), expected) == "");
      } else {
        CHECK(ended.code == 2);
        CHECK(contains(ended.err, "../data"));
      }
    };
    for (size_t i = 0; i < content.size(); i += name == "tokens.json" ? 11 : content.size() / 7) {
      INFO("byte " << i);
      std::string other = content;
      other[i] ^= 1;
      changed(other);
    }
    if (name == "tokens.json") {  // another tokenizer: bits per byte would be others
      std::string other = content;
      changed(other.replace(other.find("bytes"), 5, "words"));
    }
    changed(content.substr(0, content.size() - 2));
    changed("");
    write_file(path, content);
  }
  fs::copy(workshop / "data/val.bin", workshop / "data/more-train.bin");
  CHECK(resume().code == 2);
  fs::remove(workshop / "data/more-train.bin");
  CHECK(resume().code == 0);
}
