/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the source tree believes about the proxy, compiled with the tree's own flags, two ways: as a
 * program it prints the version, the flags, the revision and a struct size; as a module
 * (-DCPM_PROBE_MODULE) it is loaded into the installed proxy after tm, logs how much the installed
 * tm writes into that struct, and then refuses to initialise, so that the proxy ends before it
 * forks or binds anything.
 */
#include <stdio.h>
#include <string.h>

#include "sr_module.h"
#include "version.h"
#include "parser/msg_parser.h"
#include "modules/tm/tm_load.h"

#ifdef CPM_PROBE_MODULE

/* Room for a struct that is larger than the tree's. */
#define ROOM (4 * sizeof(struct tm_binds))
/* Neither a pointer nor NULL has such bytes. */
#define UNTOUCHED 0xa5

static int mod_init(void)
{
	static union {
		unsigned char bytes[ROOM];
		struct tm_binds binds;
	} room;
	load_tm_f load = (load_tm_f)(void (*)(void))find_export("load_tm", 0);
	unsigned size = ROOM;

	memset(room.bytes, UNTOUCHED, sizeof(room.bytes));
	if(load == NULL || load(&room.binds) < 0)
		return -1;
	while(size > 0 && room.bytes[size - 1] == UNTOUCHED)
		size--;
	LM_ERR("(sizeof tm_binds=%u)\n", size);
	return -1;
}

struct module_exports exports = {
	.name = "cpm_probe",
	.type = MOD_TYPE_DEFAULT,
	.ver_info = MODULE_VERSION,
	.dlflags = DEFAULT_DLFLAGS,
	.init_f = mod_init,
};

#else

int main(void)
{
	printf("version: %s\n", OPENSIPS_FULL_VERSION);
	printf("flags: %s\n", OPENSIPS_COMPILE_FLAGS);
	printf("%s revision: %s\n", VERSIONTYPE, THISREVISION);
	printf("(sizeof tm_binds=%u)\n", (unsigned)sizeof(struct tm_binds));
	return 0;
}

#endif
