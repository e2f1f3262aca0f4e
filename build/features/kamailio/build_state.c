/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kamailio 6.1: whoever has a request built may ask how, with one argument more. */
#include "core/msg_translator.h"

char *feature(struct sip_msg *msg, unsigned int *len, struct dest_info *destination)
{
	return build_req_buf_from_sip_req(msg, len, destination, 0, NULL);
}
