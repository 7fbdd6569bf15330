/* Records what a process does to the files below one folder, in the order in which it happens, for `power_loss.py`.

   LD_PRELOAD this with MODICUM_RECORD_BELOW (a folder) and MODICUM_RECORD_TO (a file). Writes to standard output are recorded
   too: they are the process's acknowledgements. One record: op, fd, offset, length as int64, then `length` bytes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

enum { OPEN = 1, CLOSE, WRITE, TRUNCATE, SYNC, LINK, UNLINK, RENAME };

static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static int out = -1;
static const char *below;
static unsigned char watched[1 << 16];

static void all(const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    const char *at = data;
    while (size) {
        ssize_t n = real(out, at, size);
        if (n <= 0) abort();
        at += n, size -= (size_t)n;
    }
}

static void record(int64_t op, int64_t fd, int64_t offset, const void *data, int64_t size) {
    int64_t head[4] = {op, fd, offset, size};
    all(head, sizeof head);
    all(data, (size_t)size);
}

__attribute__((constructor)) static void begin(void) {
    below = getenv("MODICUM_RECORD_BELOW");
    const char *to = getenv("MODICUM_RECORD_TO");
    REAL(int, "open", const char *, int, ...);
    if (below && to) out = real(to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

static int inside(const char *path) { return out >= 0 && path && !strncmp(path, below, strlen(below)); }
static int seen(int fd) { return out >= 0 && fd >= 0 && fd < (int)sizeof watched && (fd == 1 || watched[fd]); }

/* A file's record: flags in `offset`, bit 62: it was made here, bit 61: a folder. */
static int opened(int fd, const char *path, int flags, int existed) {
    struct stat info;
    if (fd < 0 || fd >= (int)sizeof watched || !inside(path)) return fd;
    fstat(fd, &info);
    int64_t bits = flags | (existed ? 0 : 1LL << 62) | (S_ISDIR(info.st_mode) ? 1LL << 61 : 0);
    watched[fd] = 1;
    record(OPEN, fd, bits, path, (int64_t)strlen(path));
    return fd;
}

#define OPENED(NAME, BEFORE, PARAMETERS, ...) \
    int NAME PARAMETERS { \
        REAL(int, #NAME, BEFORE const char *, int, ...); \
        va_list list; \
        va_start(list, flags); \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0; \
        va_end(list); \
        pthread_mutex_lock(&order); \
        int existed = !inside(path) || !access(path, F_OK); \
        int fd = opened(real(__VA_ARGS__, flags, mode), path, flags, existed); \
        pthread_mutex_unlock(&order); \
        return fd; \
    }
#define COMMA ,
OPENED(open, , (const char *path, int flags, ...), path)
OPENED(open64, , (const char *path, int flags, ...), path)
OPENED(openat, int COMMA, (int at, const char *path, int flags, ...), at, path)
OPENED(openat64, int COMMA, (int at, const char *path, int flags, ...), at, path)

/* RUN what the real function does; where it went well, record it. */
#define RECORDED(TYPE, NAME, PARAMETERS, TYPES, ARGUMENTS, WHEN, ...) \
    TYPE NAME PARAMETERS { \
        REAL(TYPE, #NAME, TYPES); \
        if (!(WHEN)) return real ARGUMENTS; \
        pthread_mutex_lock(&order); \
        TYPE done = real ARGUMENTS; \
        if (done >= 0) record(__VA_ARGS__); \
        pthread_mutex_unlock(&order); \
        return done; \
    }
#define L(...) __VA_ARGS__
RECORDED(ssize_t, write, (int fd, const void *data, size_t n), L(int, const void *, size_t), (fd, data, n), seen(fd), WRITE, fd,
         fd == 1 ? -1 : lseek(fd, 0, SEEK_CUR) - done, data, done)
RECORDED(ssize_t, pwrite, (int fd, const void *data, size_t n, off_t at), L(int, const void *, size_t, off_t), (fd, data, n, at),
         seen(fd), WRITE, fd, at, data, done)
RECORDED(ssize_t, pwrite64, (int fd, const void *data, size_t n, off_t at), L(int, const void *, size_t, off_t),
         (fd, data, n, at), seen(fd), WRITE, fd, at, data, done)
RECORDED(int, ftruncate, (int fd, off_t size), L(int, off_t), (fd, size), seen(fd), TRUNCATE, fd, size, "", 0)
RECORDED(int, ftruncate64, (int fd, off_t size), L(int, off_t), (fd, size), seen(fd), TRUNCATE, fd, size, "", 0)
RECORDED(int, fsync, (int fd), int, (fd), seen(fd), SYNC, fd, 0, "", 0)
RECORDED(int, fdatasync, (int fd), int, (fd), seen(fd), SYNC, fd, 0, "", 0)
RECORDED(int, unlink, (const char *path), const char *, (path), inside(path), UNLINK, -1, 0, path, (int64_t)strlen(path))

int close(int fd) {
    REAL(int, "close", int);
    if (fd == 1 || !seen(fd)) return real(fd);
    pthread_mutex_lock(&order);
    watched[fd] = 0;
    record(CLOSE, fd, 0, "", 0);
    int done = real(fd);
    pthread_mutex_unlock(&order);
    return done;
}

/* Two names with a zero byte between; `offset` is the length of the first. */
static int two(int op, int done, const char *from, const char *to) {
    size_t a = strlen(from), b = strlen(to);
    char *names = malloc(a + b + 1);
    memcpy(names, from, a + 1);
    memcpy(names + a + 1, to, b);
    if (!done && inside(from)) record(op, -1, (int64_t)a, names, (int64_t)(a + b + 1));
    free(names);
    return done;
}
#define TWO(NAME, OP, PARAMETERS, TYPES, ARGUMENTS) \
    int NAME PARAMETERS { \
        REAL(int, #NAME, TYPES); \
        pthread_mutex_lock(&order); \
        int done = two(OP, real ARGUMENTS, from, to); \
        pthread_mutex_unlock(&order); \
        return done; \
    }
TWO(rename, RENAME, (const char *from, const char *to), L(const char *, const char *), (from, to))
TWO(link, LINK, (const char *from, const char *to), L(const char *, const char *), (from, to))
TWO(linkat, LINK, (int a, const char *from, int b, const char *to, int flags), L(int, const char *, int, const char *, int),
    (a, from, b, to, flags))
