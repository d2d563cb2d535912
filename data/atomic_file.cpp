#include "data/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "data/error.h"

namespace {

[[noreturn]] void fail(const std::string& path) {
  throw Failure("'" + path + "' cannot be written: " + std::strerror(errno));
}

// Makes the new name in the folder durable. Some file systems do not offer it; the file itself is synced already.
void sync_folder(const std::string& path) {
  std::string folder = std::filesystem::path(path).parent_path().string();
  int descriptor = open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY);
  if (descriptor < 0) return;
  fsync(descriptor);
  close(descriptor);
}

}  // namespace

AtomicFile::AtomicFile(const std::string& path)
    : path_(path), temporary_(path + ".tmp"), file_(std::fopen(temporary_.c_str(), "wb")) {
  if (!file_) throw Error("'" + path + "' cannot be written: " + std::strerror(errno));
}

AtomicFile::~AtomicFile() {
  if (!file_) return;
  std::fclose(file_);
  unlink(temporary_.c_str());
}

void AtomicFile::write(const void* bytes, size_t count) {
  if (std::fwrite(bytes, 1, count, file_) != count) fail(path_);
}

void AtomicFile::overwrite_start(const void* bytes, size_t count) {
  if (std::fseek(file_, 0, SEEK_SET) != 0) fail(path_);
  write(bytes, count);
}

void AtomicFile::commit() {
  if (std::fflush(file_) != 0 || fsync(fileno(file_)) != 0) fail(path_);
  int closed = std::fclose(file_);
  file_ = nullptr;
  if (closed != 0 || std::rename(temporary_.c_str(), path_.c_str()) != 0) {
    int reason = errno;
    unlink(temporary_.c_str());
    errno = reason;
    fail(path_);
  }
  sync_folder(path_);
}

void write_file_atomically(const std::string& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content.data(), content.size());
  file.commit();
}
