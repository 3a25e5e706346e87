/* A plug-in for QEMU's translator (TCG) that counts executed instructions between two addresses.
 *
 * Arguments: begin=ADDRESS,end=ADDRESS,out=FILE. Each time execution reaches `end` after `begin`, a line with the number of instructions
 * executed from the one at `begin` on up to, and not with, the one at `end` goes to FILE. Both must be reached by a jump or call, as the first
 * instruction of a function is: QEMU then starts a block there. Blocks are counted as a whole when they are entered. That is exact unless a
 * fault ends one, and no number of a run that faults is used.
 *
 * Distributions ship QEMU without the header for plug-ins, so the part of its interface that is used here is declared below. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef PLUGIN_VERSION
#define PLUGIN_VERSION 1
#endif

#define EXPORTED __attribute__((visibility("default")))

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
typedef void (*translate_callback)(plugin_id, struct qemu_plugin_tb *);
typedef void (*execute_callback)(unsigned int, void *);
typedef void (*exit_callback)(plugin_id, void *);

extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
extern uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *block);
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, translate_callback callback);
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *block, execute_callback callback, int flags, void *data);
extern void qemu_plugin_register_atexit_cb(plugin_id id, exit_callback callback, void *data);

EXPORTED int qemu_plugin_version = PLUGIN_VERSION;
EXPORTED int qemu_plugin_install(plugin_id id, const void *info, int count, char **arguments);

enum { NO_REGISTERS = 0 };

static uint64_t begin_address, end_address, executed, executed_at_begin;
static int between;
static FILE *output;

static void on_begin(unsigned int processor, void *data)
{
    (void)processor;
    (void)data;
    executed_at_begin = executed;
    between = 1;
}

static void on_end(unsigned int processor, void *data)
{
    (void)processor;
    (void)data;
    if (between) {
        (void)fprintf(output, "%llu\n", (unsigned long long)(executed - executed_at_begin));
    }
    between = 0;
}

static void on_block(unsigned int processor, void *data)
{
    (void)processor;
    executed += (uintptr_t)data;
}

/* Callbacks of a block run in the order of their registration: the marks see the count before the block is added to it. */
static void on_translate(plugin_id id, struct qemu_plugin_tb *block)
{
    const uint64_t address = qemu_plugin_tb_vaddr(block);
    (void)id;
    if (address == begin_address) {
        qemu_plugin_register_vcpu_tb_exec_cb(block, on_begin, NO_REGISTERS, NULL);
    }
    if (address == end_address) {
        qemu_plugin_register_vcpu_tb_exec_cb(block, on_end, NO_REGISTERS, NULL);
    }
    qemu_plugin_register_vcpu_tb_exec_cb(block, on_block, NO_REGISTERS, (void *)(uintptr_t)qemu_plugin_tb_n_insns(block));
}

static void on_exit_of_emulator(plugin_id id, void *data)
{
    (void)id;
    (void)data;
    (void)fclose(output);
}

int qemu_plugin_install(plugin_id id, const void *info, int count, char **arguments)
{
    const char *file = NULL;
    (void)info;
    for (int index = 0; index < count; index++) {
        const char *const argument = arguments[index];
        if (strncmp(argument, "begin=", 6) == 0) {
            begin_address = strtoull(argument + 6, NULL, 0);
        } else if (strncmp(argument, "end=", 4) == 0) {
            end_address = strtoull(argument + 4, NULL, 0);
        } else if (strncmp(argument, "out=", 4) == 0) {
            file = argument + 4;
        } else {
            (void)fprintf(stderr, "instruction_counter: unknown argument %s\n", argument);
            return 1;
        }
    }
    output = file == NULL ? NULL : fopen(file, "w");
    if (output == NULL) {
        (void)fprintf(stderr, "instruction_counter: cannot write the file of out=\n");
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
    qemu_plugin_register_atexit_cb(id, on_exit_of_emulator, NULL);
    return 0;
}
