/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Definitions shared by all files of the Kamailio shim.
 */
#ifndef CPM_KAMAILIO_H
#define CPM_KAMAILIO_H

#include "core/sr_module.h"
#include "core/dprint.h"
#include "core/mem/mem.h"
#include "core/str.h"
#include "core/parser/msg_parser.h"

#include "cpm_shim.h"

#endif
