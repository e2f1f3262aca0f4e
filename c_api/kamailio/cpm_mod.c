/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The module as Kamailio sees it: its version and its export table. */
#include "core/sr_module.h"

#include "cpm.h"

/* The build hides every C symbol. These three are what the loader looks up; MODULE_VERSION also defines
 * module_interface_ver, which no loader asks for and which therefore stays hidden. */
#define CPM_EXPORTED __attribute__((visibility("default")))

extern CPM_EXPORTED char *module_version;
extern CPM_EXPORTED char *module_flags;
extern CPM_EXPORTED struct module_exports exports;

MODULE_VERSION

static int mod_init(void)
{
	LM_DBG("contract version %u\n", CPM_ABI);
	return 0;
}

struct module_exports exports = {.name = "cpm", .init_mod_f = mod_init};
