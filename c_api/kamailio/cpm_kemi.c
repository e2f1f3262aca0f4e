/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The functions under their names in routing scripts: w_cpm_* for the native language, KSR.cpm.*
 * for Lua, Python, JavaScript and any other language with a KEMI engine. Both call the functions
 * of cpm_request.c.
 */
#include "core/kemi.h"

#include "cpm_kemi.h"
#include "cpm_request.h"

#define WRAPPER(name)                                          \
	int w_cpm_##name(sip_msg_t *msg, char *p1, char *p2)       \
	{                                                          \
		(void)p1;                                              \
		(void)p2;                                              \
		return cpm_script_##name(msg);                             \
	}
WRAPPER(classify)
WRAPPER(check)
WRAPPER(reply)
WRAPPER(fanout)
WRAPPER(handle)
WRAPPER(forward_imdn)

int w_cpm_recipient_available(sip_msg_t *msg, char *uri, char *p2)
{
	str text;

	(void)p2;
	if(get_str_fparam(&text, msg, (fparam_t *)uri) < 0) {
		LM_ERR("cpm_recipient_available() needs a URI, callid=%.*s\n", CPM_CALL_ID(msg));
		return CPM_SCRIPT_NO;
	}
	return cpm_script_recipient_available(msg, &text);
}

/* Numbers, not booleans: besides yes (1) and no (-1) there is 0, which ends a native script. */
#define EXPORT_WITH(name, parameter)                                                              \
	{str_init("cpm"), str_init(#name), SR_KEMIP_INT, cpm_script_##name,                               \
			{parameter, SR_KEMIP_NONE, SR_KEMIP_NONE, SR_KEMIP_NONE, SR_KEMIP_NONE, SR_KEMIP_NONE}}
#define EXPORT(name) EXPORT_WITH(name, SR_KEMIP_NONE)
static sr_kemi_t kemi_functions[] = {
	EXPORT(classify),
	EXPORT(check),
	EXPORT(reply),
	EXPORT(fanout),
	EXPORT(handle),
	EXPORT(forward_imdn),
	EXPORT_WITH(recipient_available, SR_KEMIP_STR),
	{{0, 0}, {0, 0}, 0, NULL, {0, 0, 0, 0, 0, 0}}
};

int cpm_kemi_register(void)
{
	return sr_kemi_modules_add(kemi_functions);
}
