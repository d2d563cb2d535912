#include "data/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "data/error.h"

namespace {

[[noreturn]] void fail(const std::string& path) {
  throw Failure("'" + path + "' cannot be written: " + std::strerror(errno));
}

}  // namespace

void sync_folder(const std::string& folder) {
  const FileDescriptor opened(open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (opened && sync(opened)) return;
  if (opened && (errno == EINVAL || errno == ENOTSUP)) return;  // a file system that needs no sync of folders
  throw Failure("'" + folder + "' cannot be synced: " + std::strerror(errno));
}

AtomicFile::AtomicFile(const std::string& path)
    : path_(path),
      temporary_(path + ".tmp"),
      file_(open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) {
  if (!file_) throw Error("'" + path + "' cannot be written: " + std::strerror(errno));
}

AtomicFile::~AtomicFile() {
  if (!committed_) unlink(temporary_.c_str());
}

void AtomicFile::write(const void* bytes, size_t count) {
  if (!write_all(file_, bytes, count)) fail(path_);
}

void AtomicFile::overwrite_start(const void* bytes, size_t count) {
  if (lseek(file_.number(), 0, SEEK_SET) != 0) fail(path_);
  write(bytes, count);
}

void AtomicFile::complete() {
  if (file_ && !(sync(file_) && file_.close())) fail(path_);
}

void AtomicFile::commit() {
  complete();
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) fail(path_);
  committed_ = true;
  sync_folder(std::filesystem::path(path_).parent_path().string());
}

void write_file_atomically(const std::string& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content.data(), content.size());
  file.commit();
}
