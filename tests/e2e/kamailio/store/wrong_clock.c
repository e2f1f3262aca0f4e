/* A wall clock that is wrong by as many seconds as the file CPM_CLOCK says at the moment, a number
 * of 64 bits. For LD_PRELOAD. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t none;
static const volatile int64_t *wrong_by = &none;

__attribute__((constructor)) static void open_clock(void)
{
	const char *path = getenv("CPM_CLOCK");
	int file = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *seconds;

	if(file < 0)
		return;
	seconds = mmap(NULL, sizeof(*wrong_by), PROT_READ, MAP_SHARED, file, 0);
	close(file);
	if(seconds != MAP_FAILED)
		wrong_by = seconds;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	int result = (int)syscall(SYS_clock_gettime, clock, now);

	if(result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		now->tv_sec += *wrong_by;
	return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	struct timespec exact;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &exact);
	now->tv_sec = exact.tv_sec;
	now->tv_usec = exact.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *now)
{
	struct timespec exact;

	clock_gettime(CLOCK_REALTIME, &exact);
	if(now != NULL)
		*now = exact.tv_sec;
	return exact.tv_sec;
}
