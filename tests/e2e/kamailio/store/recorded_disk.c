/* Writes down what is done to the files of the folder CPM_FOLDER, one record after another, in the
 * file CPM_RECORD: each write with its bytes, and each sync once the disk has done it, with the
 * record's length when it began. For a folder, what names it had then. For LD_PRELOAD. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { WRITTEN = 1, CUT, SYNCED, NAMES };

struct head
{
	uint32_t kind;
	uint32_t bytes; /* that follow */
	uint64_t file;
	uint64_t place; /* an offset, a size, or the record's length */
};

static const char *record, *folder;
static size_t folder_length;

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("CPM_FOLDER");

	if(path == NULL)
		return;
	folder_length = strlen(path);
	record = getenv("CPM_RECORD");
	folder = path;
}

/* A number is used again when its file is gone, but not within a nanosecond. */
static uint64_t id_of(const struct statx *file)
{
	uint64_t born = (uint64_t)file->stx_btime.tv_sec * 1000000000u + file->stx_btime.tv_nsec;

	return file->stx_ino ^ born * 0x9e3779b97f4a7c15u;
}

/* Whether this is a file of the folder, or the folder itself, whose id is 0. */
static int is_recorded(int fd, uint64_t *id)
{
	struct statx file;
	char link[40], path[512];
	ssize_t length;

	if(record == NULL)
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof(path) - 1);
	if(length < (ssize_t)folder_length || memcmp(path, folder, folder_length) != 0)
		return 0;
	if((length > (ssize_t)folder_length && path[folder_length] != '/')
			|| statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &file) != 0)
		return 0;
	*id = length == (ssize_t)folder_length ? 0 : id_of(&file);
	return 1;
}

static uint64_t length_of_record(void)
{
	struct stat file;

	return stat(record, &file) == 0 ? (uint64_t)file.st_size : 0;
}

/* Opened each time: a proxy closes what it does not know. */
static void note(enum kind kind, uint64_t file, uint64_t place, const void *data, size_t bytes)
{
	struct head head = {kind, (uint32_t)bytes, file, place};
	struct iovec parts[2] = {{&head, sizeof(head)}, {(void *)data, bytes}};
	int out = open(record, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

	if(out < 0 || writev(out, parts, 2) != (ssize_t)(sizeof(head) + bytes))
		abort();
	close(out);
}

/* Each name with its id, and whether it is a folder. */
static size_t names_of(int fd, char *names, size_t room)
{
	struct statx file;
	struct dirent *entry;
	size_t used = 0;
	int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *entries = again < 0 ? NULL : fdopendir(again);

	while(entries != NULL && (entry = readdir(entries)) != NULL) {
		size_t length = strlen(entry->d_name) + 1;
		uint64_t id;

		if(entry->d_name[0] == '.'
				|| statx(again, entry->d_name, AT_SYMLINK_NOFOLLOW, STATX_INO | STATX_BTIME, &file)
						   != 0)
			continue;
		if(used + sizeof(id) + 1 + length > room)
			abort();
		id = id_of(&file);
		memcpy(names + used, &id, sizeof(id));
		names[used + sizeof(id)] = entry->d_type == DT_DIR;
		memcpy(names + used + sizeof(id) + 1, entry->d_name, length);
		used += sizeof(id) + 1 + length;
	}
	if(entries != NULL)
		closedir(entries);
	return used;
}

static int synced(const char *function, int fd)
{
	int (*sync)(int) = (int (*)(int))dlsym(RTLD_NEXT, function);
	static __thread char names[65536];
	struct stat file;
	uint64_t id, begun;
	size_t used;
	int result;

	if(!is_recorded(fd, &id))
		return sync(fd);
	begun = length_of_record();
	if(fstat(fd, &file) == 0 && S_ISDIR(file.st_mode)) {
		used = names_of(fd, names, sizeof(names));
		result = sync(fd);
		if(result == 0)
			note(NAMES, id, begun, names, used);
	} else {
		result = sync(fd);
		if(result == 0)
			note(SYNCED, id, begun, NULL, 0);
	}
	return result;
}

int fsync(int fd)
{
	return synced("fsync", fd);
}

int fdatasync(int fd)
{
	return synced("fdatasync", fd);
}

ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t offset)
{
	ssize_t (*next)(int, const void *, size_t, off64_t) =
			(ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
	ssize_t written = next(fd, data, bytes, offset);
	uint64_t id;

	if(written > 0 && is_recorded(fd, &id))
		note(WRITTEN, id, (uint64_t)offset, data, (size_t)written);
	return written;
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
	return pwrite64(fd, data, bytes, offset);
}

ssize_t write(int fd, const void *data, size_t bytes)
{
	ssize_t (*next)(int, const void *, size_t) =
			(ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
	ssize_t written = next(fd, data, bytes);
	off_t end;
	uint64_t id;

	if(written > 0 && is_recorded(fd, &id) && (end = lseek(fd, 0, SEEK_CUR)) >= written)
		note(WRITTEN, id, (uint64_t)(end - written), data, (size_t)written);
	return written;
}

int ftruncate64(int fd, off64_t size)
{
	int (*next)(int, off64_t) = (int (*)(int, off64_t))dlsym(RTLD_NEXT, "ftruncate64");
	int result = next(fd, size);
	uint64_t id;

	if(result == 0 && is_recorded(fd, &id))
		note(CUT, id, (uint64_t)size, NULL, 0);
	return result;
}

int ftruncate(int fd, off_t size)
{
	return ftruncate64(fd, size);
}
