"""Held start: run by the *application's* Python, before the pause.

    python held_start.py READY MODULE[,MODULE] -m MAIN [ARGUMENT…]

Imports the modules (they read no data, so nothing can be stale), says ``ready`` on the descriptor
READY, and waits on standard input.  ``go`` makes it become ``python -m MAIN ARGUMENT…``; the end of
input without ``go`` (its starter died) ends it.  Standard library only: any Python 3 can run it.
"""

import importlib
import os
import runpy
import sys


def main() -> None:
    ready, modules, flag, target = sys.argv[1:5]
    assert flag == "-m", flag  # noqa: S101 - our own starter wrote the command
    sys.path[0] = os.getcwd()  # noqa: PTH109 - what `python -m` would have put there
    for name in modules.split(","):
        importlib.import_module(name)
    os.write(int(ready), b"ready\n")
    os.close(int(ready))
    if sys.stdin.readline() != "go\n":
        sys.exit(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv[:] = [target, *sys.argv[5:]]
    sys.modules.pop(target, None)  # run_module executes it anew, as __main__
    runpy.run_module(target, run_name="__main__", alter_sys=True)


main()
