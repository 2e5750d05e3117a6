/* Run a fuzz target over its corpus, so that a plain ctest keeps what fuzzing once found. */
#include "fuzz.h"

#include <dirent.h>

#define FILE_MAX (1 << 16) /* bytes; longer inputs are not kept in a corpus */

static void
run_file(const char *path)
{
    static uint8_t room[FILE_MAX];
    FILE *file = fopen(path, "rb");
    uint8_t *exact;
    size_t len;

    PROMISE(file != NULL);
    len = fread(room, 1, sizeof(room), file);
    fclose(file);
    /* a block of just this size, so that a sanitizer sees one byte too far */
    exact = malloc(len > 0 ? len : 1);
    PROMISE(exact != NULL);
    memcpy(exact, room, len);
    LLVMFuzzerTestOneInput(exact, len);
    free(exact);
}

int
main(void)
{
    DIR *dir = opendir(LK_CORPUS_DIR);
    struct dirent *entry;
    unsigned count = 0;

    PROMISE(dir != NULL);
    while ((entry = readdir(dir)) != NULL) {
        char path[1024];

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", LK_CORPUS_DIR, entry->d_name);
        run_file(path);
        count++;
    }
    closedir(dir);
    printf("%u inputs\n", count);
    return count > 0 ? 0 : 1;
}
