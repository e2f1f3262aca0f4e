/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cpm_outgoing.h"

int cpm_outgoing_is(const struct cpm_outgoing *o, const char *method)
{
	return o->method.len == strlen(method) && memcmp(o->method.s, method, o->method.len) == 0;
}

int cpm_outgoing_keep_token(const struct cpm_token *token, void **kept)
{
	*kept = NULL;
	if(token->words[1] == 0 && (token->words[0] & 1) != 0 && token->words[0] <= UINTPTR_MAX) {
		*kept = (void *)(uintptr_t)token->words[0];
	} else if(token->words[0] != 0 || token->words[1] != 0) {
		*kept = shm_malloc(sizeof(*token));
		if(*kept == NULL)
			return -1;
		*(struct cpm_token *)*kept = *token;
	}
	return 0;
}

int cpm_outgoing_is_in_memory(const void *kept)
{
	return kept != NULL && ((uintptr_t)kept & 1) == 0;
}

struct cpm_token cpm_outgoing_token_of(const void *kept)
{
	struct cpm_token token = {{(uintptr_t)kept, 0}};

	return cpm_outgoing_is_in_memory(kept) ? *(const struct cpm_token *)kept : token;
}

size_t cpm_outgoing_digits(unsigned long number)
{
	size_t n = 1;

	while(number >= 10) {
		number /= 10;
		n++;
	}
	return n;
}

size_t cpm_outgoing_size_without_via(const struct cpm_outgoing *o)
{
	static const char lines[] = "  SIP/2.0\r\nTo: \r\nFrom: ;tag=\r\nCSeq:  \r\nCall-ID: \r\nContent-Length: \r\n\r\n";
	static const char tag[] = ";tag=";

	return sizeof(lines) - 1 + 2 * o->method.len + o->request_uri.len + o->to.whole.len
		   + (o->to_tag.len > 0 ? sizeof(tag) - 1 + o->to_tag.len : 0) + o->from.whole.len + o->from_tag.len
		   + cpm_outgoing_digits(o->cseq) + o->call_id.len + cpm_outgoing_digits(o->body.len) + o->headers_with_max_forwards.len + o->body.len;
}
