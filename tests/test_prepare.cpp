// Text into token files: the split, small texts, and what happens to a folder that is not empty.
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>

#include "data/corpora.h"
#include "data/dataset.h"
#include "data/prepare.h"
#include "data/printable.h"
#include "data/sha256.h"
#include "data/tokenizer.h"
#include "data/tokens_json.h"
#include "tests/catch.h"
#include "tests/error_text.h"
#include "tests/temp_dir.h"

namespace {

namespace fs = std::filesystem;

// Bytes of every value in an order that no block repeats.
std::string some_text(size_t size) {
  std::string text(size, '\0');
  uint32_t state = 1;
  for (char& c : text) c = char((state = state * 1664525 + 1013904223) >> 24);
  return text;
}

std::string text_of_stream(const TokenStream& stream) {
  std::vector<int32_t> tokens(stream.size());
  stream.copy(0, tokens.size(), tokens.data());
  return decode(tokens);
}

// The split as data/prepare.h has it, on the whole text at once.
struct Expected {
  std::string train, val, test;
  Expected(const std::string& text, size_t block_bytes) {
    for (size_t i = 0; i * block_bytes < text.size(); i++)
      (i % 10 == 9 ? val : i % 20 == 4 ? test : train) += text.substr(i * block_bytes, block_bytes);
  }
};

void check_split(const std::string& folder, const std::string& text, size_t block_bytes) {
  Expected expected(text, block_bytes);
  Dataset data = load_dataset(folder, 0);
  CHECK(data.tokenizer == "bytes");
  CHECK(data.vocab_size == 256);
  CHECK((text_of_stream(data.train) == expected.train));  // extra parentheses: no megabytes in a message
  CHECK((text_of_stream(data.val) == expected.val));
  CHECK((text_of_stream(data.test) == expected.test));
  CHECK(data.bytes_in("train") == expected.train.size());
  CHECK(data.bytes_in("val") == expected.val.size());
  CHECK(data.bytes_in("test") == expected.test.size());
  auto json = read_tokens_json(folder);
  REQUIRE(json);
  CHECK(json->source_sha256 == sha256_hex(text));
  CHECK(json->block_bytes == block_bytes);
  CHECK(json->bytes == data.bytes);
  CHECK(json->sha256 == data.sha256);
}

}  // namespace

TEST_CASE("blocks are dealt to the splits", "[core][prepare]") {
  std::string dealt;
  for (int i = 0; i < 40; i++) dealt += "tvx"[int(split_of_block(i))];
  CHECK(dealt == "ttttxttttvtttttttttvttttxttttvtttttttttv");
}

TEST_CASE("a text of several megabytes is split in blocks of 64 KiB", "[core][prepare]") {
  TempDir dir;
  std::string text = some_text(45 * 65536 + 123);
  write_file(dir / "text", text);
  PrepareResult result = prepare({{dir / "text"}, "my text", ""}, dir / "out");
  CHECK(result.block_bytes == 65536);
  CHECK(result.train + result.val + result.test == text.size());
  CHECK(result.sha256 == sha256_hex(text));
  CHECK_FALSE(result.already);
  CHECK_FALSE(result.replaced);
  CHECK_FALSE(result.unexpected);
  check_split(dir / "out", text, 65536);
  CHECK(load_dataset(dir / "out", 0).source == "my text");
  CHECK(std::distance(fs::directory_iterator(dir / "out"), fs::directory_iterator()) == 4);
}

TEST_CASE("several inputs are one text, across the borders of blocks", "[core][prepare]") {
  TempDir dir;
  std::string text = some_text(12 * 65536);
  write_file(dir / "a", text.substr(0, 70001));
  write_file(dir / "b", "");
  write_file(dir / "c", text.substr(70001, 5));
  write_file(dir / "d", text.substr(70006));
  prepare({{dir / "a", dir / "b", dir / "c", dir / "d"}, "four", ""}, dir / "out");
  check_split(dir / "out", text, 65536);
}

TEST_CASE("a small text is split in tenths", "[core][prepare]") {
  CHECK(block_bytes_for(10 * 65536) == 65536);
  CHECK(block_bytes_for(10 * 65536 - 1) == 65535);
  CHECK(block_bytes_for(1 << 30) == 65536);
  for (size_t size : {20, 29, 1234, 65536, 655359}) {
    CAPTURE(size);
    TempDir dir;
    std::string text = some_text(size);
    write_file(dir / "text", text);
    PrepareResult result = prepare({{dir / "text"}, "small", ""}, dir / "out");
    CHECK(result.val == size / 10);
    CHECK(result.test == size / 10);
    check_split(dir / "out", text, size / 10);
  }
}

TEST_CASE("input that cannot be prepared is refused and nothing is written", "[core][prepare]") {
  TempDir dir;
  auto refusal = [&](const std::vector<std::string>& files) {
    std::string message = error_text([&] { prepare({files, "it", ""}, dir / "out"); });
    CHECK_FALSE(fs::exists(dir / "out"));
    return message;
  };
  write_file(dir / "short", std::string(19, 'x'));
  CHECK(contains(refusal({dir / "short"}), "19 bytes; it needs at least 20"));
  write_file(dir / "empty", "");
  CHECK(contains(refusal({dir / "empty"}), "0 bytes"));
  CHECK(contains(refusal({dir / "short", dir / "none"}), "none' does not exist"));
  CHECK(contains(refusal({dir.path.string()}), "is not a file"));

  write_file(dir / "text", some_text(100));
  CHECK(contains(error_text([&] { prepare({{dir / "text"}, "it", ""}, dir / "text"); }), "is a file"));
  CHECK(contains(error_text([&] { prepare({{dir / "text"}, "it", ""}, dir / "text/out"); }), "text/out"));
}

TEST_CASE("a text that is prepared already is left alone", "[core][prepare]") {
  TempDir dir;
  std::string text = some_text(5000);
  write_file(dir / "text", text);
  PrepareSource source{{dir / "text"}, "it", ""};
  CHECK_FALSE(already_prepared(dir / "out", sha256_hex(text)));
  PrepareResult first = prepare(source, dir / "out");
  auto time = fs::last_write_time(dir / "out/train.bin");
  PrepareResult second = prepare(source, dir / "out");
  CHECK(second.already);
  CHECK(second.train == first.train);
  CHECK(second.val == first.val);
  CHECK(second.test == first.test);
  CHECK(second.block_bytes == first.block_bytes);
  CHECK(fs::last_write_time(dir / "out/train.bin") == time);
  CHECK(already_prepared(dir / "out", sha256_hex(text)));
  CHECK_FALSE(already_prepared(dir / "out", sha256_hex("another text")));

  fs::remove(dir / "out/test.bin");  // no longer intact: prepared again
  CHECK_FALSE(prepare(source, dir / "out").already);
  write_file(dir / "out/val.bin", "damaged");
  CHECK_FALSE(prepare(source, dir / "out").already);
  check_split(dir / "out", text, 500);
}

TEST_CASE("only prepare's own output of the same source is replaced", "[core][prepare]") {
  TempDir dir;
  write_file(dir / "text", some_text(1000));
  prepare({{dir / "text"}, "it", ""}, dir / "out");
  std::string longer = some_text(2000);
  write_file(dir / "text", longer);
  std::string message = error_text([&] { prepare({{dir / "text"}, "other", ""}, dir / "out"); });
  CHECK(contains(message, "'it'"));
  CHECK(contains(message, "'other'"));
  PrepareResult result = prepare({{dir / "text"}, "it", ""}, dir / "out");
  CHECK_FALSE(result.already);
  CHECK(result.replaced);
  check_split(dir / "out", longer, 200);

  // A file that would become part of the stream.
  fs::copy_file(dir / "out/train.bin", dir / "out/more_train.bin");
  write_file(dir / "text", some_text(3000));
  CHECK(contains(error_text([&] { prepare({{dir / "text"}, "it", ""}, dir / "out"); }), "more_train.bin"));

  for (const char* name : {"train.bin", "tokens.json"}) {
    std::string folder = dir / (std::string("of ") + name), content = R"({"vocab_size": 5})";
    fs::create_directory(folder);
    write_file(folder + "/" + name, content);
    CHECK(contains(error_text([&] { prepare({{dir / "text"}, "it", ""}, folder); }), name));
    CHECK(read_file(folder + "/" + name) == content);
    CHECK(std::distance(fs::directory_iterator(folder), fs::directory_iterator()) == 1);
  }
}

TEST_CASE("a prepare that was killed leaves nothing that passes for whole, and can be repeated", "[core][prepare]") {
  TempDir dir;
  write_file(dir / "text", some_text(3000));
  prepare({{dir / "text"}, "it", ""}, dir / "old");
  write_file(dir / "text", some_text(4000));
  const PrepareSource source{{dir / "text"}, "it", ""};
  prepare(source, dir / "whole");
  // tokens.json comes first, then one file after the other takes its name.
  for (const char* last : {"tokens.json", "train.bin", "val.bin"})
    for (bool replaces : {false, true}) {
      INFO("killed after " << last << (replaces ? ", over an older text" : ""));
      fs::remove_all(dir / "out");
      fs::create_directory(dir / "out");
      if (replaces) fs::copy(dir / "old", dir / "out");
      for (const char* name : {"tokens.json", "train.bin", "val.bin"}) {
        fs::copy(dir / (std::string("whole/") + name), dir / (std::string("out/") + name),
                 fs::copy_options::overwrite_existing);
        if (std::string(name) == last) break;
      }
      const bool has_all_but_test = std::string(last) == "val.bin" && !replaces;
      CHECK(error_text([&] { load_dataset(dir / "out", 0).split("test"); }) != "");
      if (!has_all_but_test) CHECK(error_text([&] { load_dataset(dir / "out", 0); }) != "");
      CHECK_FALSE(prepare(source, dir / "out").already);
      CHECK(read_file(dir / "out/test.bin") == read_file(dir / "whole/test.bin"));
      CHECK(load_dataset(dir / "out", 0).sha256 == load_dataset(dir / "whole", 0).sha256);
    }
}

TEST_CASE("another text than the expected one is remembered", "[core][prepare]") {
  TempDir dir;
  std::string text = some_text(1000);
  write_file(dir / "text", text);
  PrepareSource source{{dir / "text"}, "kjv", sha256_hex(text)};
  CHECK_FALSE(prepare(source, dir / "same").unexpected);
  CHECK_FALSE(load_dataset(dir / "same", 0).unexpected_text);
  source.expected_sha256 = sha256_hex("the text that was measured");
  CHECK(prepare(source, dir / "other").unexpected);
  CHECK(prepare(source, dir / "other").unexpected);  // also where it was prepared before
  CHECK(load_dataset(dir / "other", 0).unexpected_text);
}

TEST_CASE("the text of a source may have any name", "[core][prepare]") {
  TempDir dir;
  write_file(dir / "text", some_text(100));
  std::string name = "a \"quoted\" \\ name\n";
  prepare({{dir / "text"}, name, ""}, dir / "out");
  CHECK(read_tokens_json(dir / "out")->source == name);
  CHECK(load_dataset(dir / "out", 0).source == printable(name));
  CHECK(prepare({{dir / "text"}, "bad UTF-8 \xff", ""}, dir / "bad").train == 80);
}

TEST_CASE("the table of corpora is well formed", "[core][prepare]") {
  for (const Corpus& corpus : kCorpora) {
    CAPTURE(corpus.name);
    std::string hash = corpus.sha256;
    CHECK(hash.size() == 64);
    CHECK(hash.find_first_not_of("0123456789abcdef") == std::string::npos);
    CHECK(corpus.bytes > 10 * kBlockBytes);
  }
}

namespace {

// data/corpus.sh with programs of our own in front of the system's, so that no test needs a network.
struct CorpusScript {
  TempDir dir;
  std::string cache = dir / "it's a cache";

  CorpusScript() { fs::create_directory(dir / "bin"); }

  void fake(const std::string& program, const std::string& body) {
    write_file(dir / ("bin/" + program), "#!/bin/sh\n" + body + "\n");
    fs::permissions(dir / ("bin/" + program), fs::perms::owner_all);
  }

  int run(const std::string& corpus) {
    std::string script = fs::absolute(fs::path(__FILE__).parent_path().parent_path() / "data/corpus.sh").string();
    std::string command = "PATH='" + (dir / "bin") + "':\"$PATH\" sh '" + script + "' " + corpus + " \"" + cache +
                          "\" > '" + (dir / "output") + "' 2>&1";
    int status = std::system(command.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  std::string output() const { return read_file(dir / "output"); }
  std::string text(const std::string& corpus) const { return read_file(cache + "/" + corpus + ".txt"); }
  long files() const { return std::distance(fs::directory_iterator(cache), fs::directory_iterator()); }
};

const bool kBibleInstalled = fs::exists("/usr/bin/bible"),
           kGcideInstalled = fs::exists("/usr/share/dictd/gcide.dict.dz");

}  // namespace

TEST_CASE("corpora are unpacked from packages that are only downloaded", "[core][prepare]") {
  CorpusScript script;
  script.fake("apt-get", "touch \"$3.deb\"");
  script.fake("dpkg-deb", R"(mkdir -p "$3/usr/bin" "$3/usr/lib" "$3/usr/share/dictd"
printf 'Aaron\n   \347 brother\n' | gzip > "$3/usr/share/dictd/gcide.dict.dz"
printf 'verses' > "$3/usr/lib/bible.data"
printf '#!/bin/sh\n[ -f bible.data ] && echo "Ge1:1 In the beginning" && echo "1Jn2:3 And hereby"' > "$3/usr/bin/bible"
chmod +x "$3/usr/bin/bible")");
  if (!kGcideInstalled) {
    CHECK(script.run("gcide") == 0);
    CHECK(script.output() == "");
    CHECK(script.text("gcide") == "Aaron\n   \347 brother\n");
    CHECK(script.files() == 1);  // nothing else stays in the cache
  }
  if (!kBibleInstalled) {
    CHECK(script.run("kjv") == 0);
    CHECK(script.output() == "");
    CHECK(script.text("kjv") == "In the beginning\nAnd hereby\n");
  }
  fs::create_directories(script.cache);
  write_file(script.cache + "/kjv.txt", "from before");
  CHECK(script.run("kjv") == 0);
  CHECK(script.text("kjv") == "from before");
}

TEST_CASE("a corpus that cannot be fetched leaves a reason and nothing else", "[core][prepare]") {
  CorpusScript script;
  script.fake("curl", "echo 'curl: (6) Could not resolve host' >&2; exit 6");
  CHECK(script.run("tinyshakespeare") == 1);
  CHECK(contains(script.output(), "could not be read (curl: (6) Could not resolve host)"));
  CHECK(script.files() == 0);
  script.fake("curl", "exit 0");  // a success without a text
  CHECK(script.run("tinyshakespeare") == 1);
  CHECK(script.files() == 0);
  script.fake("apt-get", "echo 'E: Unable to locate package' >&2; exit 100");
  script.fake("dpkg-deb", "exit 1");
  if (!kGcideInstalled) {
    CHECK(script.run("gcide") == 1);
    CHECK(contains(script.output(), "apt-get download dict-gcide failed (E: Unable to locate package)"));
    CHECK(script.files() == 0);
  }
  CHECK(script.run("shakespeare") == 1);
  CHECK(contains(script.output(), "kjv, gcide and tinyshakespeare"));
}
