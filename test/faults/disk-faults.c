/*
 * Preloaded into a node, lets writing its store fail while the file named by DISK_FAULT exists. What it holds says what
 * fails: "write" (pwrite of the data file), "sync" (fdatasync of it), "hang" (fdatasync does not come back meanwhile).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int is_store(int fd) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return length > 9 && strcmp(path + length - 9, "/data.mdb") == 0;
}

static int fails(int fd, const char *what) {
  const char *control = getenv("DISK_FAULT");
  char found[16] = "";
  if (control == NULL || !is_store(fd)) return 0;
  int file = open(control, O_RDONLY);
  if (file < 0) return 0;
  ssize_t length = read(file, found, sizeof found - 1);
  close(file);
  return length > 0 && strncmp(found, what, strlen(what)) == 0;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
  static ssize_t (*real)(int, const void *, size_t, off64_t);
  if (real == NULL) real = dlsym(RTLD_NEXT, "pwrite64");
  if (fails(fd, "write")) {
    errno = EIO;
    return -1;
  }
  return real(fd, bytes, count, offset);
}

int fdatasync(int fd) {
  static int (*real)(int);
  if (real == NULL) real = dlsym(RTLD_NEXT, "fdatasync");
  while (fails(fd, "hang")) usleep(10000);
  if (fails(fd, "sync")) {
    errno = EIO;
    return -1;
  }
  return real(fd);
}
