/* SPDX-License-Identifier: GPL-2.0-or-later */
/* OpenSIPS 4.0: a socket may write a line of the PROXY protocol before each datagram. */
#include "ip_addr.h"

int feature(void)
{
	return SI_PROXY_OUT;
}
