/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <strings.h>

#include "cpm_headers.h"

/* Whether a comma-separated list of names contains this one. */
static int is_among(struct cpm_str names, const str *name)
{
	const char *end = names.s + names.len;
	const char *at = names.s;

	while(at < end) {
		const char *comma = memchr(at, ',', end - at);
		const char *until = comma != NULL ? comma : end;

		if(until - at == name->len && strncasecmp(at, name->s, name->len) == 0)
			return 1;
		at = until + 1;
	}
	return 0;
}

/* Whether every response may have it (RFC 3261 8.2.6). Other fields may reveal its origin: Contact,
 * P-Asserted-Identity, Record-Route, History-Info. */
static int belongs_to_response(const struct hdr_field *field)
{
	static const str retry_after = str_init("Retry-After");

	switch(field->type) {
		case HDR_VIA_T:
		case HDR_VIA2_T:
		case HDR_FROM_T:
		case HDR_TO_T:
		case HDR_CALLID_T:
		case HDR_CSEQ_T:
		case HDR_CONTENTTYPE_T:
		case HDR_CONTENTLENGTH_T:
			return 1;
		default:
			return field->name.len == retry_after.len
				   && strncasecmp(field->name.s, retry_after.s, retry_after.len) == 0;
	}
}

int cpm_headers_replace(struct sip_msg *msg, struct cpm_str dropped, struct cpm_str lines)
{
	struct hdr_field *field;
	struct lump *anchor;
	char *copy;

	if(parse_headers(msg, HDR_EOH_F, 0) < 0)
		return -1;
	for(field = msg->headers; field != NULL; field = field->next) {
		if(is_among(dropped, &field->name)
				&& del_lump(msg, field->name.s - msg->buf, field->len, field->type) == NULL)
			return -1;
	}
	anchor = CPM_PROXY_ANCHOR(msg, msg->unparsed - msg->buf);
	copy = pkg_malloc(lines.len);
	if(copy == NULL) {
		LM_ERR("no more private memory\n");
		return -1;
	}
	memcpy(copy, lines.s, lines.len);
	/* From here on the message owns the copy. */
	if(anchor == NULL || insert_new_lump_before(anchor, copy, (int)lines.len, 0) == NULL) {
		pkg_free(copy);
		return -1;
	}
	return 0;
}

void cpm_headers_strip_response(struct sip_msg *response)
{
	struct hdr_field *field;

	if(parse_headers(response, HDR_EOH_F, 0) < 0)
		return;
	for(field = response->headers; field != NULL; field = field->next) {
		if(!belongs_to_response(field))
			del_lump(response, field->name.s - response->buf, field->len, field->type);
	}
}

int cpm_headers_add_script_lines(struct sip_msg *msg, str *headers, char **made)
{
	struct lump_rpl *lump;
	int len = headers->len;

	*made = NULL;
	for(lump = msg != NULL ? msg->reply_lump : NULL; lump != NULL; lump = lump->next) {
		if(lump->flags & LUMP_RPL_HDR)
			len += lump->text.len;
	}
	if(len == headers->len)
		return 0;
	*made = pkg_malloc(len);
	if(*made == NULL) {
		LM_ERR("no more private memory\n");
		return -1;
	}
	memcpy(*made, headers->s, headers->len);
	for(lump = msg->reply_lump; lump != NULL; lump = lump->next) {
		if(!(lump->flags & LUMP_RPL_HDR))
			continue;
		memcpy(*made + headers->len, lump->text.s, lump->text.len);
		headers->len += lump->text.len;
	}
	headers->s = *made;
	return 0;
}
