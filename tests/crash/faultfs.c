/* A disk that fails on demand: preloaded, it stands between a process and the C library's write and sync.
 *
 * Only files whose path begins with $FAULTFS_ROOT and ends with the armed suffix are concerned. Armed, the
 * nth call of a kind from now fails: a failed sync once (Linux reports an error once and then calls the pages
 * clean), a full disk until it is disarmed. The size that each file had when it was last synced is remembered:
 * that is what a power failure may leave of it.
 *
 * A process that cannot call faultfs_arm is armed by a file: when $FAULTFS_TRIGGER comes to exist, the next
 * sync of a file that ends with $FAULTFS_SUFFIX fails.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum kind { SYNC = 0, WRITE = 1, SHORT_WRITE = 2, RENAME = 3 };

#define FILES 64

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int armed, kind, error_number, fired, again;
static long left;
static char suffix[64], failed_path[PATH_MAX];
static struct { char path[PATH_MAX]; long size; } synced[FILES];
static unsigned next_synced;

static ssize_t (*real_write)(int, const void *, size_t);
static int (*real_fsync)(int), (*real_fdatasync)(int), (*real_rename)(const char *, const char *);

__attribute__((constructor)) static void begin(void)
{
    real_write = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    real_fsync = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    real_rename = (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
}

static int ends_with(const char *path, const char *end)
{
    size_t length = strlen(path), tail = strlen(end);
    return length >= tail && strcmp(path + length - tail, end) == 0;
}

static int is_ours(const char *path)
{
    const char *root = getenv("FAULTFS_ROOT");
    return root && strncmp(path, root, strlen(root)) == 0;
}

static int path_of(int fd, char *path)
{
    char name[32];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(name, path, PATH_MAX - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return is_ours(path);
}

static void arm(int what, long nth, int error, const char *end)
{
    armed = 1, kind = what, left = nth, error_number = error, fired = again = 0, failed_path[0] = 0;
    snprintf(suffix, sizeof suffix, "%s", end);
}

static void arm_by_trigger(void)
{
    const char *trigger = getenv("FAULTFS_TRIGGER"), *end = getenv("FAULTFS_SUFFIX");
    if (!armed && !fired && trigger && end && access(trigger, F_OK) == 0)
        arm(SYNC, 1, EIO, end);
}

/* Whether this call of what on path is one that fails; called with the lock held. */
static int fails(int what, const char *path)
{
    arm_by_trigger();
    if (fired && what == SYNC && strcmp(path, failed_path) == 0)
        again++;
    int mine = kind == SHORT_WRITE ? WRITE : kind;
    if (!armed || what != mine || !ends_with(path, suffix) || --left > 0)
        return 0;
    if (!fired++)
        snprintf(failed_path, sizeof failed_path, "%s", path);
    if (kind == SYNC || kind == RENAME)
        armed = 0;
    return 1;
}

static int sync_with(int (*real)(int), int fd)
{
    char path[PATH_MAX];
    struct stat found;
    if (!path_of(fd, path))
        return real(fd);
    pthread_mutex_lock(&lock);
    int refused = fails(SYNC, path), error = error_number;
    pthread_mutex_unlock(&lock);
    if (refused) {
        errno = error;
        return -1;
    }
    int known = fstat(fd, &found);
    int result = real(fd);
    if (result == 0 && known == 0) {
        pthread_mutex_lock(&lock);
        unsigned at = 0;
        while (at < FILES && strcmp(synced[at].path, path) != 0)
            at++;
        if (at == FILES)
            at = next_synced++ % FILES;
        snprintf(synced[at].path, PATH_MAX, "%s", path);
        synced[at].size = found.st_size;
        pthread_mutex_unlock(&lock);
    }
    return result;
}

int fsync(int fd) { return sync_with(real_fsync, fd); }

int fdatasync(int fd) { return sync_with(real_fdatasync, fd); }

ssize_t write(int fd, const void *data, size_t size)
{
    char path[PATH_MAX];
    if (!path_of(fd, path))
        return real_write(fd, data, size);
    pthread_mutex_lock(&lock);
    int refused = fails(WRITE, path), error = error_number, half = kind == SHORT_WRITE && fired == 1;
    pthread_mutex_unlock(&lock);
    if (!refused)
        return real_write(fd, data, size);
    if (half && size > 1)
        return real_write(fd, data, size / 2);
    errno = error;
    return -1;
}

int rename(const char *from, const char *to)
{
    int refused = 0, error = 0;
    if (is_ours(from)) {
        pthread_mutex_lock(&lock);
        refused = fails(RENAME, from), error = error_number;
        pthread_mutex_unlock(&lock);
    }
    if (!refused)
        return real_rename(from, to);
    errno = error;
    return -1;
}

/* -- for tests, by ctypes ------------------------------------------------------------------------------ */

void faultfs_arm(int what, long nth, int error, const char *end)
{
    pthread_mutex_lock(&lock);
    arm(what, nth, error, end);
    pthread_mutex_unlock(&lock);
}

void faultfs_disarm(void)
{
    pthread_mutex_lock(&lock);
    armed = 0;
    pthread_mutex_unlock(&lock);
}

/* How many calls failed since it was armed, and how often the file of the first was synced after that. */
int faultfs_fired(void) { return fired; }

int faultfs_again(void) { return again; }

/* The size of the file at its last good sync; -1 when it had none. */
long faultfs_synced(const char *path)
{
    for (unsigned at = 0; at < FILES; at++)
        if (strcmp(synced[at].path, path) == 0)
            return synced[at].size;
    return -1;
}
