/*
 * provisioning/templates.h - files of examples/ that are built in, for init. Made by CMake.
 */
#ifndef PROVISIONING_TEMPLATES_H
#define PROVISIONING_TEMPLATES_H

extern const char template_conf[]; /* examples/latchkeyd.conf */
extern const char template_acl[];  /* examples/scopes.acl */

#endif
