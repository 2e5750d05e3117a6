/*
 * doctor.c - latchkey doctor: what is wrong with a broker's configuration, where, why, what to do.
 */
#include "doctor.h"

#include <stdio.h>
#include <string.h>

static void
print_member(const json_t *finding, const char *before, const char *member)
{
    const char *text = json_string_value(json_object_get(finding, member));

    (void)fputs(before, stdout);
    if (text != NULL)
        out_text(text, strlen(text));
}

static void
print_finding(const json_t *finding)
{
    json_int_t line = json_integer_value(json_object_get(finding, "line"));

    if (json_is_string(json_object_get(finding, "file"))) {
        print_member(finding, "", "file");
        if (line > 0)
            (void)printf(":%" JSON_INTEGER_FORMAT, line);
        (void)fputs(": ", stdout);
    }
    print_member(finding, "", "what");
    print_member(finding, "\n    why  ", "why");
    print_member(finding, "\n    do   ", "remedy");
    (void)putchar('\n');
}

static int
report(const struct doctor *d)
{
    size_t count = json_array_size(d->findings), i;
    const json_t *finding;
    json_t *answer;

    if (d->cli->json) {
        answer = json_pack("{s:s, s:s, s:O}", "conf", d->conf, "broker", d->version, "findings",
                           d->findings);
        out_json(answer);
        json_decref(answer);
    } else {
        json_array_foreach (d->findings, i, finding)
            print_finding(finding);
        if (count == 0)
            (void)printf("%s: nothing found; Mosquitto %s\n", d->conf, d->version);
        else
            (void)printf("%zu finding%s\n", count, count == 1 ? "" : "s");
    }
    return d->unreachable ? CLI_UNREACHABLE : count > 0 ? CLI_REFUSED : CLI_DONE;
}

int
doctor_run(struct cli *cli, int argc, char **argv)
{
    static void (*const checks[])(struct doctor *) = {
        doctor_check_version, doctor_check_plugin, doctor_check_listeners, doctor_check_anonymous,
        doctor_check_files,   doctor_check_map,    doctor_check_issuers};
    struct doctor d = {.cli = cli, .conf = "/etc/mosquitto/mosquitto.conf", .plugin = SIZE_MAX};
    const struct opt options[] = {{"mosquitto-conf", OPT_TEXT, &d.conf},
                                  {"mosquitto", OPT_TEXT, &d.mosquitto},
                                  {"offline", OPT_FLAG, &d.offline},
                                  {NULL, OPT_FLAG, NULL}};
    struct texts rest;
    int code;

    if (!options_parse(cli, argc, argv, options, 0, 0, &rest))
        return CLI_USAGE;
    d.findings = json_array();
    code = doctor_read(&d);
    if (code == CLI_DONE) {
        for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
            checks[i](&d);
        code = report(&d);
    }
    doctor_free(&d);
    return code;
}
