/* Does a filter match a topic?    topic FILTER TOPIC
 * What asks for no key needs no crypto port: latchkey::token alone. */
#include <latchkey/topic.h>

int
main(int argc, char **argv)
{
    return argc == 3 && lk_topic_matches(lk_span_text(argv[1]), lk_span_text(argv[2])) ? 0 : 1;
}
