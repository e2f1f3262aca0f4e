/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the source tree believes about the proxy, compiled with the tree's own flags, two ways: as a
 * program it prints the version, the flags and the struct sizes; as a module (-DCPM_PROBE_MODULE)
 * it is loaded into the installed proxy after tm, whose mod_init logs the sizes of the installed
 * binaries, and then refuses to initialise, so that the proxy ends before it forks or binds
 * anything.
 */
#include <stdio.h>

#include "core/sr_module.h"
#include "core/ver_defs.h"
#include "core/parser/msg_parser.h"
#include "modules/tm/h_table.h"

#ifdef CPM_PROBE_MODULE

MODULE_VERSION

static int mod_init(void)
{
	return -1;
}

struct module_exports exports = {.name = "cpm_probe", .init_mod_f = mod_init};

#else

int main(void)
{
	printf("version: %s\n", SER_FULL_VERSION);
	printf("flags: %s\n", SER_COMPILE_FLAGS);
	printf("(sizeof cell=%ld, sip_msg=%ld)\n", (long)sizeof(struct cell), (long)sizeof(struct sip_msg));
	return 0;
}

#endif
