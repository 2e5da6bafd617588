"""Become a command that the kernel signals once our parent is gone, however it went.

    python -I -S die_with_parent.py SIGNAL PARENT_PID USER:GROUP|- COMMAND...

A program of its own, for nothing may run between fork and exec of a process that has threads.
The kernel counts the *thread* that forked as the parent: start such children from the main thread.
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
COMMAND_NOT_FOUND = 127


def main(arguments: list[str]) -> None:
    """Drop to the account, ask for the signal, and exec the command."""
    sent, parent, account, *command = arguments
    if account != "-":
        user, group = map(int, account.split(":"))
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)  # before the request below, which a change of user withdraws
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, int(sent), 0, 0, 0) != 0:
        sys.exit(f"the kernel refuses to tell of a parent's death: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != int(parent):
        sys.exit("the parent was gone before the start")
    try:
        os.execv(command[0], command)  # noqa: S606 - there is no shell wanted
    except OSError as error:
        print(f"{command[0]} cannot be run: {error.strerror}", file=sys.stderr)
        sys.exit(COMMAND_NOT_FOUND)


if __name__ == "__main__":
    main(sys.argv[1:])
