// Shows a program only one pixel format of each capture device: the one whose fourcc is in the file that
// ONE_FORMAT names, read each time a device is asked, or none where it has another. For LD_PRELOAD.
//
// The device really captures in it: only VIDIOC_ENUM_FMT is answered for it here.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>

static long (*next_syscall(void))(long, ...)
{
    static long (*next)(long, ...);

    if (!next)
        next = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    return next;
}

static __u32 wanted(void)
{
    const char *name = getenv("ONE_FORMAT");
    FILE *file = name ? fopen(name, "r") : NULL;
    unsigned int fourcc = 0;

    if (file) {
        if (fscanf(file, "%x", &fourcc) != 1)
            fourcc = 0;
        fclose(file);
    }
    return fourcc;
}

static long answer(int device, unsigned long request, void *argument)
{
    struct v4l2_fmtdesc *format = argument;
    __u32 only;

    if ((__u32)request != VIDIOC_ENUM_FMT || !(only = wanted()))
        return next_syscall()(SYS_ioctl, device, request, argument);
    if (format->index > 0) {
        errno = EINVAL;
        return -1;
    }
    while (next_syscall()(SYS_ioctl, device, request, argument) == 0) {
        if (format->pixelformat == only) {
            format->index = 0;
            return 0;
        }
        format->index++;
    }
    return -1;
}

int ioctl(int device, unsigned long request, ...)
{
    va_list arguments;
    void *argument;

    va_start(arguments, request);
    argument = va_arg(arguments, void *);
    va_end(arguments);
    return answer(device, request, argument);
}

// How the v4l crate does it.
long syscall(long number, ...)
{
    long argument[6];
    va_list arguments;

    va_start(arguments, number);
    for (int i = 0; i < 6; i++)
        argument[i] = va_arg(arguments, long);
    va_end(arguments);
    if (number == SYS_ioctl)
        return answer((int)argument[0], (unsigned long)argument[1], (void *)argument[2]);
    return next_syscall()(number, argument[0], argument[1], argument[2], argument[3], argument[4], argument[5]);
}
