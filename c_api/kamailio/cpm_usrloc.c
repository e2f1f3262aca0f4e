/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "modules/usrloc/usrloc.h"

#include "cpm_kamailio.h"
#include "cpm_usrloc.h"

/* Runs in whatever process saves a contact, with usrloc's lock held. */
static void contact(ucontact_t *contact, int type, void *param)
{
	(void)type;
	(void)param;
	if(contact->aor != NULL)
		cpm_core_api->recipient_available(cpm_service, cpm_of_str(contact->aor));
}

int cpm_usrloc_init(void)
{
	bind_usrloc_t bind;
	usrloc_api_t usrloc;

	if(!cpm_core_api->hears_registrar(cpm_service))
		return 0;
	bind = (bind_usrloc_t)(void (*)(void))find_export("ul_bind_usrloc", 1, 0);
	if(bind == NULL || bind(&usrloc) < 0) {
		LM_ERR("deferred_on_register needs the module usrloc\n");
		return -1;
	}
	/* A phone back from a dead spot only refreshes its contact. The list of callbacks is in shared
	 * memory: every process calls this one. */
	if(usrloc.register_ulcb(UL_CONTACT_INSERT | UL_CONTACT_UPDATE, contact, NULL) < 0) {
		LM_ERR("usrloc does not say who registers\n");
		return -1;
	}
	return 0;
}
