#include <latchkey/policy.h>

/* The same text as provisioning/examples/scopes.acl; a unit test compares them. */
const char lk_policy_default[] =
    "# The scope map: which scope permits what on which topics. What no rule allows is denied.\n"
    "# For a tenant other than the default all of it stands under t/<tenant>/.\n"
    "# Placeholders, options and matching: token/POLICY.md\n"
    "\n"
    "# scope             action       topic filter                              options\n"
    "telemetry:send      publish      devices/{device}/telemetry/#\n"
    "telemetry:relay     publish      devices/{children}/telemetry/#\n"
    "telemetry:relay     publish      devices/{device}/relay/+/telemetry/#\n"
    "telemetry:read      subscribe    devices/+/telemetry/#\n"
    "commands:receive    subscribe    devices/{device}/commands/+\n"
    "commands:receive    publish      devices/{device}/commands/+/result        retain=no\n"
    "status:send         publish      devices/{device}/status/#\n"
    "status:read         subscribe    devices/+/status/#\n"
    "status:read         subscribe    devices/+/presence\n"
    "config:read         subscribe    devices/{device}/config/#\n"
    "config:write        publish      devices/+/config/#\n"
    "alerts:read         subscribe    alerts/#\n"
    "desk:use            both         devices/#\n"
    "desk:use            both         alerts/#\n"
    "bridge:use          publish      devices/+/telemetry/#\n"
    "bridge:use          publish      devices/+/status/#\n"
    "bridge:use          publish      devices/+/commands/+/result\n"
    "bridge:use          publish      devices/+/presence\n"
    "bridge:use          subscribe    devices/+/commands/+\n"
    "bridge:use          subscribe    devices/+/config/#\n";
