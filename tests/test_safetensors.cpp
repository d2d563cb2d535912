// The file format of the tensors: what is written is what others read, and nothing that others write breaks the reader.
#include <sys/stat.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "data/sha256.h"
#include "tests/catch.h"
#include "tests/error_text.h"
#include "tests/temp_dir.h"
#include "train/safetensors.h"

namespace {

std::string length_bytes(uint64_t length) {
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes;
}

std::string file_bytes(const std::string& header, size_t data_bytes) {
  return length_bytes(header.size()) + header + std::string(data_bytes, '\1');
}

// What the reader says of a file with this content; "" if it accepts it.
std::string complaint(const TempDir& folder, const std::string& content) {
  const std::string path = folder / "bad.safetensors";
  write_file(path, content);
  return error_text([&] { SafetensorsFile file(path); });
}

uint32_t bits(float x) { return std::bit_cast<uint32_t>(x); }

// One tensor "x" of 16-bit numbers.
std::string halves_file(const std::string& dtype, const std::vector<uint16_t>& halves) {
  const std::string header = R"({"x":{"dtype":")" + dtype + R"(","shape":[)" + std::to_string(halves.size()) +
                             R"(],"data_offsets":[0,)" + std::to_string(2 * halves.size()) + "]}}";
  return length_bytes(header.size()) + header +
         std::string(reinterpret_cast<const char*>(halves.data()), 2 * halves.size());
}

std::vector<float> read_x(const std::string& path) {
  SafetensorsFile file(path);
  std::vector<float> x(file.size("x"));
  file.read("x", x.data());
  return x;
}

std::vector<uint16_t> every_half() {
  std::vector<uint16_t> halves(65536);
  for (int i = 0; i < 65536; i++) halves[i] = uint16_t(i);
  return halves;
}

}  // namespace

TEST_CASE("tensors are written as the format says and read back bit for bit", "[core][checkpoint]") {
  TempDir folder;
  const std::string path = folder / "t.safetensors";
  const float nan = std::bit_cast<float>(0x7fa12345u);  // a signalling one, with a payload
  const std::vector<float> a{1, -0.0f, nan, std::numeric_limits<float>::denorm_min(), INFINITY, -3e38f}, b{7};
  const std::string sum =
      write_safetensors(path, {{"z.first", {2, 3}, a.data()}, {"a.second", {}, b.data()}, {"empty", {0, 5}, nullptr}});
  CHECK(sum == sha256_file(path));

  const std::string content = read_file(path);
  uint64_t length;
  std::memcpy(&length, content.data(), 8);
  CHECK(length % 8 == 0);
  CHECK(content.size() == 8 + length + 7 * sizeof(float));
  std::string header = content.substr(8, length);
  CHECK(header.substr(0, header.find_last_not_of(' ') + 1) ==
        R"({"__metadata__":{"format":"pt"},)"
        R"("z.first":{"data_offsets":[0,24],"dtype":"F32","shape":[2,3]},)"
        R"("a.second":{"data_offsets":[24,28],"dtype":"F32","shape":[]},)"
        R"("empty":{"data_offsets":[28,28],"dtype":"F32","shape":[0,5]}})");

  SafetensorsFile file(path);
  CHECK(file.names() == std::vector<std::string>{"a.second", "empty", "z.first"});
  CHECK(file.shape("z.first") == std::vector<size_t>{2, 3});
  CHECK(file.shape("a.second").empty());
  CHECK(file.size("a.second") == 1);
  CHECK(file.size("empty") == 0);
  std::vector<float> read(6);
  file.read("z.first", read.data());
  CHECK(std::memcmp(read.data(), a.data(), 24) == 0);
  file.read("a.second", read.data());
  CHECK(read[0] == 7);
  file.read("z.first", 4, 2, read.data());
  CHECK(read[0] == INFINITY);
  CHECK(read[1] == -3e38f);
  CHECK(contains(error_text([&] { file.read("z.first", 4, 3, read.data()); }), "it has 6"));
  CHECK(contains(error_text([&] { file.shape("b"); }), "'b'"));
  CHECK(contains(error_text([&] {
                   write_safetensors(path, {{"x", {1}, b.data()}, {"x", {1}, b.data()}});
                 }),
                 "'x' twice"));
}

TEST_CASE("a file by Hugging Face's own writer is read", "[core][checkpoint]") {
  // safetensors 0.8.0: {"a": float32 [[1, -2.5], [0, 3e38]], "b": float16 [1.5, -0]}
  static const char bytes[] =
      "\x90\0\0\0\0\0\0\0"
      "{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]},"
      "\"b\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[16,20]}} "
      "\0\0\x80?\0\0 \xc0\0\0\0\0\xe6\xb1\x61\x7f\0>\0\x80";
  TempDir folder;
  const std::string path = folder / "t.safetensors";
  write_file(path, std::string(bytes, sizeof bytes - 1));
  SafetensorsFile file(path);
  float a[4], b[2];
  file.read("a", a);
  file.read("b", b);
  CHECK(a[0] == 1);
  CHECK(a[1] == -2.5f);
  CHECK(a[2] == 0);
  CHECK(a[3] == 3e38f);
  CHECK(b[0] == 1.5f);
  CHECK(bits(b[1]) == 0x80000000u);
}

TEST_CASE("every F16 and BF16 is widened exactly", "[core][checkpoint]") {
  TempDir folder;
  write_file(folder / "f16", halves_file("F16", every_half()));
  write_file(folder / "bf16", halves_file("BF16", every_half()));
  const auto f16 = read_x(folder / "f16"), bf16 = read_x(folder / "bf16");
  REQUIRE(f16.size() == 65536);
  REQUIRE(bf16.size() == 65536);
  int wrong = 0;
  for (int i = 0; i < 65536; i++) {
    wrong += bits(bf16[i]) != uint32_t(i) << 16;
    // IEEE 754 binary16 by its definition.
    int exponent = (i >> 10) & 31, fraction = i & 1023;
    double value = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
    if (exponent == 31) value = fraction ? NAN : INFINITY;
    if (i & 0x8000) value = -value;
    wrong += std::isnan(value) ? !std::isnan(f16[i]) || ((bits(f16[i]) >> 13) & 1023) != uint32_t(fraction)
                               : bits(f16[i]) != bits(float(value));
  }
  CHECK(wrong == 0);
}

TEST_CASE("a tensor of another type may stand in a file but is not read as floats", "[core][checkpoint]") {
  TempDir folder;
  const std::string path = folder / "t.safetensors";
  write_file(path, file_bytes(R"({"mask":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]},)"
                              R"("x":{"dtype":"F64","shape":[1],"data_offsets":[3,11]}})",
                              11));
  SafetensorsFile file(path);
  CHECK(file.size("mask") == 3);
  float x;
  for (const char* name : {"mask", "x"}) {
    const std::string text = error_text([&] { file.read(name, &x); });
    CHECK(contains(text, path));
    CHECK(contains(text, "allowed are F32, F16 and BF16"));
  }
}

TEST_CASE("a file that is cut off or too long is refused, wherever", "[core][checkpoint]") {
  TempDir folder;
  const std::string path = folder / "t.safetensors";
  const float x[3] = {1, 2, 3};
  write_safetensors(path, {{"x", {3}, x}, {"y", {1}, x}});
  const std::string content = read_file(path);
  REQUIRE(complaint(folder, content).empty());
  for (size_t size = content.size(); size-- > 0;) {
    std::filesystem::resize_file(path, size);
    INFO(size << " of " << content.size() << " bytes");
    CHECK(contains(error_text([&] { SafetensorsFile file(path); }), path));
  }
  CHECK(contains(complaint(folder, content + "x"), "its header describes 16"));
}

TEST_CASE("no flipped bit of a header does worse than an error", "[core][checkpoint]") {
  TempDir folder;
  const std::string path = folder / "t.safetensors";
  const float x[3] = {1, 2, 3};
  write_safetensors(path, {{"x", {3}, x}, {"y", {1}, x}});
  const std::string content = read_file(path), header = content.substr(8, content.size() - 8 - 16);
  REQUIRE(parse_safetensors_header(header, 16, "'t'").size() == 2);
  size_t refused = 0;
  for (size_t i = 0; i < header.size(); i++)
    for (int bit = 0; bit < 8; bit++) {
      std::string flipped = header;
      flipped[i] = char(flipped[i] ^ (1 << bit));
      refused += !error_text([&] { parse_safetensors_header(flipped, 16, "'t'"); }).empty();  // nothing but an Error
    }
  CHECK(refused > header.size() * 4);  // the rest changes names or spaces
  for (int i = 0; i < 64; i++) {
    std::string flipped = content;
    flipped[i / 8] = char(flipped[i / 8] ^ (1 << i % 8));
    CHECK_FALSE(complaint(folder, flipped).empty());
  }
}

TEST_CASE("malformed headers are refused in one sentence", "[core][checkpoint]") {
  TempDir folder;
  struct Case {
    const char* header;
    size_t data_bytes;
    const char* message;
  };
  const Case cases[] = {
      {"", 0, "not valid JSON"},
      {"{", 0, "not valid JSON: it breaks at byte"},
      {"{}x", 0, "not valid JSON"},
      {"[]", 0, "must be a JSON object"},
      {"7", 0, "must be a JSON object"},
      {"{\"\xff\":1}", 0, "not valid JSON"},
      {R"({"x":1e999})", 0, "no computer number can hold"},
      {"[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]", 0, "nested deeper"},
      {"{}", 4, "its header describes 0"},
      {R"({"__metadata__":{"format":1}})", 0, "metadata"},
      {R"({"__metadata__":"pt"})", 0, "metadata"},
      {R"({"x":4})", 4, "must be an object"},
      {R"({"x":{"shape":[1],"data_offsets":[0,4]}})", 4, "lacks 'dtype'"},
      {R"({"x":{"dtype":"F32","data_offsets":[0,4]}})", 4, "lacks 'shape'"},
      {R"({"x":{"dtype":"F32","shape":[1]}})", 4, "lacks 'data_offsets'"},
      {R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"stride":1}})", 4, "'stride'"},
      {R"({"x":{"dtype":32,"shape":[1],"data_offsets":[0,4]}})", 4, "the dtype 32"},
      {R"({"x":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}})", 4, "'F33'"},
      {R"({"x":{"dtype":"F32","shape":1,"data_offsets":[0,4]}})", 4, "the shape 1"},
      {R"({"x":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4, "a dimension of tensor 'x'"},
      {R"({"x":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", 4, "a dimension of tensor 'x'"},
      {R"({"x":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4]}})", 4, "a dimension"},
      {R"({"x":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0, "any file can hold"},
      {R"({"x":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}})", 0, "any file can hold"},
      {R"({"x":{"dtype":"F32","shape":[18446744073709551615,1],"data_offsets":[0,4]}})", 4, "any file can hold"},
      {R"({"x":{"dtype":"F32","shape":[1],"data_offsets":4}})", 4, "data_offsets 4"},
      {R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", 4, "[begin, end]"},
      {R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}})", 4, "[begin, end]"},
      {R"({"x":{"dtype":"F32","shape":[1],"data_offsets":["0",4]}})", 4, "an offset of tensor 'x'"},
      {R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}})", 4, "an offset of tensor 'x'"},
      {R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4, "outside"},
      {R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 4, "outside the 4 bytes"},
      {R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[18446744073709551612,0]}})", 4, "outside"},
      {R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4, "needs 8"},
      {R"({"x":{"dtype":"F16","shape":[1],"data_offsets":[0,4]}})", 4, "needs 2"},
      {R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8, "a gap: tensor 'x'"},
      {R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"y":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})",
       12, "a gap: tensor 'y'"},
      {R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"y":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
       12, "an overlap: tensor 'y'"},
      {R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"y":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
       4, "an overlap: tensor"},
      {R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
       8, "'x' twice"},
      {R"({"x":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}})", 4, "'dtype' twice"},
      {R"({"a\nb":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}})", 4, "'a?b'"},
  };
  for (const Case& c : cases) {
    const std::string text = complaint(folder, file_bytes(c.header, c.data_bytes));
    INFO(c.header << " -> " << text);
    CHECK(contains(text, folder / "bad.safetensors"));
    CHECK(contains(text, c.message));
    CHECK_FALSE(contains(text, "\n"));
  }
}

TEST_CASE("a header's length is checked before it is believed", "[core][checkpoint]") {
  TempDir folder;
  CHECK(contains(complaint(folder, length_bytes(UINT64_MAX) + "{}"), "at most 100000000"));
  CHECK(contains(complaint(folder, length_bytes(100'000'001) + "{}"), "at most 100000000"));
  CHECK(contains(complaint(folder, length_bytes(100'000'000) + "{}"), "only 2 follow"));
  CHECK(contains(complaint(folder, length_bytes(3) + "{}"), "only 2 follow"));
  CHECK(complaint(folder, length_bytes(2) + "{}").empty());
}

TEST_CASE("what is not a file is refused", "[core][checkpoint]") {
  TempDir folder;
  CHECK(contains(error_text([&] { SafetensorsFile file(folder / "none"); }), "cannot be opened"));
  CHECK(contains(error_text([&] { SafetensorsFile file(folder.path.string()); }), "not a regular file"));
  REQUIRE(mkfifo((folder / "pipe").c_str(), 0600) == 0);
  CHECK(contains(error_text([&] { SafetensorsFile file(folder / "pipe"); }), "not a regular file"));
}

TEST_CASE("a file that shrinks while it is open is an error", "[core][checkpoint]") {
  TempDir folder;
  const std::string path = folder / "t.safetensors";
  const std::vector<float> x(1000, 1.5f);
  write_safetensors(path, {{"x", {1000}, x.data()}});
  SafetensorsFile file(path);
  std::filesystem::resize_file(path, 2000);
  std::vector<float> read(1000);
  CHECK(contains(error_text([&] { file.read("x", read.data()); }), "became shorter"));
}
