#include "data/sha256.h"

#include <openssl/evp.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "data/error.h"

struct Sha256::Context {
  EVP_MD_CTX* evp = EVP_MD_CTX_new();
  ~Context() { EVP_MD_CTX_free(evp); }
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  if (!context_->evp || EVP_DigestInit_ex(context_->evp, EVP_sha256(), nullptr) != 1)
    throw Failure("OpenSSL cannot compute SHA-256 on this machine");
}

Sha256::~Sha256() = default;

void Sha256::add(const void* bytes, size_t count) {
  if (EVP_DigestUpdate(context_->evp, bytes, count) != 1) throw Failure("OpenSSL failed while computing SHA-256");
}

std::string Sha256::hex() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  if (EVP_DigestFinal_ex(context_->evp, digest, &length) != 1) throw Failure("OpenSSL failed while computing SHA-256");
  std::string text;
  for (unsigned int i = 0; i < length; i++) {
    text += "0123456789abcdef"[digest[i] >> 4];
    text += "0123456789abcdef"[digest[i] & 15];
  }
  return text;
}

std::string sha256_hex(std::string_view bytes) {
  Sha256 hash;
  hash.add(bytes.data(), bytes.size());
  return hash.hex();
}

std::string sha256_file(const std::string& path) {
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (!file) throw Error("'" + path + "' cannot be read: " + std::strerror(errno));
  Sha256 hash;
  std::vector<char> buffer(1 << 16);
  while (size_t count = std::fread(buffer.data(), 1, buffer.size(), file.get())) hash.add(buffer.data(), count);
  if (std::ferror(file.get())) throw Error("'" + path + "' cannot be read: " + std::strerror(errno));
  return hash.hex();
}
