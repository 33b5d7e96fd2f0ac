"""Become another program, one that does not outlive the process that started it.

    python die_with_parent.py SIGNAL PARENT PROGRAM [ARGUMENT ...]

Sends itself SIGNAL when PARENT dies, then turns into PROGRAM, which keeps the arrangement
and the process id. Only Linux knows it; elsewhere the program is started all the same.
"""

import ctypes
import os
import sys

SET_PARENT_DEATH_SIGNAL = 1


def main() -> None:
    number, parent, *command = sys.argv[1:]
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, int(number))
        if os.getppid() != int(parent):  # It died before the call above.
            sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


main()
