/*
 * replay.h - the last lines of a fuzzer: with -DFUZZ_REPLAY it runs the files that it is given,
 * once each, instead of inputs of libFuzzer's.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#ifdef FUZZ_REPLAY
int main(int argc, char **argv)
{
    static uint8_t bytes[65536];
    int            i, ran = 0;
    for (i = 1; i < argc; i++) {
        int     fd  = open(argv[i], O_RDONLY);
        ssize_t got = fd >= 0 ? read(fd, bytes, sizeof bytes) : -1;
        if (got < 0) {
            perror(argv[i]);
            return 1;
        }
        close(fd);
        alarm(60); /* an operation that does not end */
        LLVMFuzzerTestOneInput(bytes, (size_t)got);
        ran++;
    }
    printf("%d inputs\n", ran);
    return 0;
}
#endif
