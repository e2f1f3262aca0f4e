/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The operator's page, served by OpenSIPS's httpd: the page itself at /cpm/, and the commands that
 * it needs at /cpm_rpc, for who has the password. OpenSIPS's own mi_http would give every command
 * to whoever reaches its port. And the metrics at /cpm_metrics.
 */
#ifndef CPM_PAGE_H
#define CPM_PAGE_H

/* The parameters operator_page, a file, and operator_password. NULL: not set. */
extern char *cpm_page_file;
extern char *cpm_page_password;
/* The parameter metrics: whether httpd serves them. */
extern int cpm_page_metrics;

/* Reads the file and registers both places, if the parameters are set. Before OpenSIPS changes its
 * user. 0, or -1 after one log line. */
int cpm_page_init(void);

#endif
