/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The express lane: copies of a message that leave by the proxy's own sockets, past tm. In OpenSIPS
 * it is closed.
 */
#ifndef CPM_EXPRESS_H
#define CPM_EXPRESS_H

#include "cpm_shim.h"

/* The reason why it is closed. */
const char *cpm_express_closed(void);

/* Room for the reason with a few words before it. */
#define CPM_EXPRESS_TEXT_BYTES 128

#endif
