"""``python -m crossfade.gateway``: the gate in the foreground.  SIGTERM ends it gracefully.

Exit status: 0 ended as asked, 2 wrong usage, 4 refused to start.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import uvloop

from crossfade.gateway.client import ClientConnection
from crossfade.gateway.control import Control, bind_socket
from crossfade.gateway.gate import Gate
from crossfade.gateway.keeper import Keeper
from crossfade.gateway.late import LateComers
from crossfade.gateway.limits import Limits
from crossfade.gateway.pause import Counters, GateState
from crossfade.gateway.statefile import StateError, StateFile
from crossfade.gateway.tls import Tls, TlsError
from crossfade.model import Address, Side

_log = logging.getLogger("crossfade.gateway")


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m crossfade.gateway", description=__doc__)
    address = Address.parse
    parser.add_argument("--listen", type=address, required=True, metavar="HOST:PORT")
    parser.add_argument("--socket", type=Path, required=True, help="where commands are taken")
    parser.add_argument("--state", type=Path, required=True, help="file that survives a restart")
    parser.add_argument("--old", type=address, metavar="HOST:PORT", help="address of the old side")
    parser.add_argument("--new", type=address, metavar="HOST:PORT", help="address of the new side")
    parser.add_argument("--patience", type=float, metavar="SECONDS", default=None)
    parser.add_argument(
        "--limit", action="append", default=[], metavar="NAME=VALUE", help="change a limit"
    )
    for name, what in (
        ("certificate", "speak TLS to clients with this certificate (PEM, with its chain)"),
        ("key", "the certificate's key"),
        ("trust", "authorities of the sides' certificates; else they have the same certificate"),
    ):
        parser.add_argument(f"--{name}", type=Path, help=what)
    parser.add_argument("--name", default="", help="the name in a side's certificate")
    parser.add_argument(
        "--ask-by-tls", action="append", default=[], type=Side, metavar="SIDE", help="old, new"
    )
    options = parser.parse_args(argv)
    if bool(options.certificate) is not bool(options.key):
        parser.error("--certificate and --key go together")
    if options.patience is not None:
        options.limit.append(f"patience_seconds={options.patience}")
    try:
        options.limits = Limits().changed(options.limit)
    except ValueError as error:
        parser.error(str(error))
    return options


def _tls(options: argparse.Namespace) -> Tls | None:
    """Raises TlsError."""
    if options.certificate is None:
        return None
    sides = dict.fromkeys(options.ask_by_tls, True)
    paths = (options.certificate.absolute(), options.key.absolute())
    trust = options.trust.absolute() if options.trust else None
    return Tls(*paths, sides, trust, options.name)


def _load(file: StateFile, options: argparse.Namespace) -> tuple[GateState, Counters]:
    """The saved state, with the addresses of the command line if there are any."""
    file.claim()
    state, counters = file.load() or (GateState(), Counters())
    given = {Side.OLD: options.old, Side.NEW: options.new}
    targets = {**state.targets, **{side: target for side, target in given.items() if target}}
    return replace(state, targets=targets), counters


class _Complaints:
    """Logs a bug of ours with its traceback, but never so often that the log fills the disk."""

    def __init__(self) -> None:
        self._seen = 0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        self._seen += 1
        if self._seen <= 20 or self._seen % 1000 == 0:
            error = context.get("exception")
            trace = error if isinstance(error, BaseException) else None
            _log.error("bug %d: %s", self._seen, context.get("message"), exc_info=trace)


async def _serve(options: argparse.Namespace) -> None:
    file = StateFile(options.state)
    state, counters = _load(file, options)
    late = LateComers(options.state.with_name(f"{options.state.name}.late"))
    late.load()
    gate = Gate(state, counters, options.limits, late, options.tls)
    gate.loop.set_exception_handler(_Complaints())
    keeper = Keeper(gate, file, options.listen)
    listen: Address = options.listen
    server = await gate.loop.create_server(
        lambda: ClientConnection(gate),
        None if listen.host == "::" else listen.host,  # everywhere: IPv4 as well
        listen.port,
        ssl=options.tls.context if options.tls else None,
        backlog=options.limits.backlog,
        reuse_address=True,
        start_serving=False,
    )
    path: Path = options.socket
    control_socket = bind_socket(path)
    await keeper.start()
    for number in (signal.SIGTERM, signal.SIGINT):
        gate.loop.add_signal_handler(number, keeper.stopping.set)
    await server.start_serving()
    # The last to come up: who gets an answer here may rely on the gate's listening.
    control = await asyncio.start_unix_server(Control(keeper).serve, sock=control_socket)
    _log.info("listening at %s, traffic goes to %s", listen, gate.state.side.value)
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)  # requests leave no cycles behind, so look for them rarely
    ticking = gate.loop.create_task(keeper.tick())
    await keeper.stopping.wait()
    server.close()
    await keeper.end()
    ticking.cancel()
    control.close()
    file.close()
    _log.info("ended")


def _raise_file_limit() -> None:
    """Every client and every request in flight is a descriptor."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the gate until it is told to end.  Returns the exit status."""
    options = _arguments(argv)
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    _raise_file_limit()
    try:
        options.tls = _tls(options)
    except TlsError as error:
        _log.error("The gate did not start: %s (%s).", error.what, error.code)
        return 4
    options.socket, options.state = options.socket.absolute(), options.state.absolute()
    os.chdir("/")  # whatever directory we were started in may have to go before we do
    try:
        uvloop.run(_serve(options))
        with suppress(FileNotFoundError):
            options.socket.unlink()
    except StateError as error:
        _log.error("The gate did not start: %s.", error)
        return 4
    except OSError as error:
        what = error.strerror or error
        _log.error("The gate did not start: %s (%s).", what, options.listen)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main())
