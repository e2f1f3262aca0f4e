/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Copies of the express lane over UDP: many with one system call.
 */
#ifndef CPM_DATAGRAMS_H
#define CPM_DATAGRAMS_H

#include "cpm_shim.h"

/* Sends all copies of the batch by this socket. */
void cpm_datagrams_send(int fd, const struct cpm_express_batch *batch);

#endif
