// A file that appears under its name only when it is complete: it is written as `path`.tmp, synced to the disk and
// renamed. A run that is killed or a disk that fills up leaves the former file as it was.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "data/file_descriptor.h"

class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path);  // Error if path.tmp cannot be made
  ~AtomicFile();                                 // not committed: path.tmp is removed
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* bytes, size_t count);            // appends; Failure if the disk refuses
  void overwrite_start(const void* bytes, size_t count);  // replaces the first bytes of the file; nothing may follow
  void complete();                                        // sync and close: all of it is on the disk, as temporary()
  void commit();                                          // complete, rename, sync the folder

  const std::string& path() const { return path_; }
  const std::string& temporary() const { return temporary_; }

 private:
  std::string path_, temporary_;
  FileDescriptor file_;
  bool committed_ = false;
};

// The whole content in one call.
void write_file_atomically(const std::string& path, std::string_view content);

// Makes names made, changed or removed in the folder durable ("" is the current one). Failure if the disk refuses.
void sync_folder(const std::string& folder);
