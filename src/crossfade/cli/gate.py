"""``crossfade gate``: put the gate in front, start it, look at it, release it, take it away."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from crossfade.cli import gate_front
from crossfade.cli._common import Verbs, confirm, open_site, verb
from crossfade.errors import CrossfadeError, Refused

if TYPE_CHECKING:
    from crossfade.ports import PortState
    from crossfade.wiring import WiredSite

__all__ = ["add", "run"]


def add(verbs: Verbs) -> None:
    """Describe the arguments."""
    parser = verb(verbs, "gate", "the gate in front of both sides", changes=True)
    parser.add_argument(
        "what",
        choices=["start", "status", "metrics", "release", "stop", "install", "remove"],
        help="start it; show its state; print its counters for Prometheus; "
        "let held requests go where traffic goes; stop it; "
        "lead the web server before it to it; and past it",
    )


def run(options: argparse.Namespace) -> int:
    """Do it, then print the gate's state."""
    from crossfade.model import Side

    site = open_site(options)
    manifest = site.manifest
    if options.what in ("install", "remove"):
        if manifest.traffic.driver == "gateway":
            return gate_front.run(options, site)
        _change_proxy(site, options)
        if options.what == "remove" or options.dry_run:
            return 0
    if options.what == "stop" and manifest.traffic.front:
        from crossfade.upkeep import must_not_be_in_use

        must_not_be_in_use(site)
    if options.what == "start" and not options.dry_run:
        site.traffic.ensure({Side.OLD: manifest.old.address, Side.NEW: manifest.new.address})
        _must_hand_out(site)
    state = site.traffic.look()
    if options.what == "metrics" and state:
        return _metrics(site, options)
    if options.what == "release" and state and state.held and not options.dry_run:
        with site.lease("gate release"):  # never under a running cutover
            site.traffic.release()
        state = site.traffic.look()
    if options.what == "start" and not options.dry_run and (front := site.front):
        front.renew()
    if options.what == "stop" and state and not options.dry_run:
        confirm(options, f"Nobody will answer at {manifest.traffic.listen} any more.")
        site.traffic.stop()
        state = site.traffic.look()
    if state is None:
        if options.what == "stop":
            return 0
        raise Refused(
            "gate-not-running",
            f"No gate runs at {manifest.traffic.listen}.",
            next="crossfade gate start",
        )
    shown = {
        "side": str(state.side),
        "held": state.held,
        "in_flight": state.in_flight,
        "waiting": state.waiting,
        "tunnels": state.tunnels,
        "total": state.total,
        "failed": state.failed,
        "served_after_drain": state.served_after_drain,
        "writes_since_switch": state.writes_since_switch,
        "passing": state.passing,
        "metrics": state.metrics,
        "ports": [_port(port) for port in state.ports],
        "late": [asdict(late) for late in state.late],
        "targets": {str(side): str(address) for side, address in state.targets.items()},
    }
    print(json.dumps(shown) if options.json else _show(shown))
    return 0


def _metrics(site: WiredSite, options: argparse.Namespace) -> int:
    """Print the counters as they are handed out to Prometheus."""
    from crossfade.drivers.traffic.gateway import GatewayTraffic

    if not isinstance(site.traffic, GatewayTraffic):
        raise Refused(
            "gate-without-metrics",
            "Only the built-in gate hands its counters out; HAProxy has an exporter of its own.",
            next="crossfade gate status",
        )
    text = site.traffic.metrics()
    print(json.dumps({"text": text}) if options.json else text, end="")
    return 0


def _port(port: PortState) -> dict[str, object]:
    """How a port stands, as plain data."""
    return {
        **port.port.as_json(),
        "open": port.open,
        "waiting": port.waiting,
        "taken": port.taken,
        "failed": port.failed,
        "why": port.why,
    }


def _must_hand_out(site: WiredSite) -> None:
    """A gate that was started says so when it cannot listen where its counters are asked for, or
    at another port."""
    from crossfade.ports import not_taken

    wanted, state = site.manifest.traffic.options.get("metrics"), site.traffic.look()
    if wanted and state and state.metrics != str(wanted):
        raise Refused(
            "metrics-not-served",
            f"The gate runs, but it cannot hand its counters out at {wanted}.",
            where="traffic.metrics; somebody else listens there, or the address is not ours",
            now=f"Traffic goes to the {state.side} side, as before.",
            next="crossfade gate start   (with another address)",
        )
    for at, why in not_taken(site.traffic).items():
        raise Refused(
            "port-taken",
            f"The gate runs, but it cannot listen at {at}: {why}.",
            where="traffic.ports; somebody else listens there, or the address is not ours",
            now=f"Requests at {site.traffic.listen} go where they went before.",
            next=f"ss -ltnp 'sport = :{at.port}'   (who listens there; then: crossfade gate start)",
        )


def _change_proxy(site: WiredSite, options: argparse.Namespace) -> None:
    """Show what is changed in the proxy's configuration; when that is agreed to, change it."""
    from crossfade.upkeep import change_proxy

    put_in = options.what == "install"
    with site.lease(f"gate {options.what}"):  # never under a running cutover
        try:
            difference = change_proxy(site, put_in=put_in, act=False)
            if not options.json:
                print(difference or "Nothing is to be changed.", end="" if difference else "\n")
            if not options.dry_run:
                if difference:
                    confirm(
                        options,
                        "Change the proxy's configuration so, and reload it.",
                        more=f"{options.what} ",
                    )
                change_proxy(site, put_in=put_in, act=True)
        except CrossfadeError as error:
            error.now = error.now or "Traffic goes where it went before."
            error.next = error.next or f"crossfade gate {options.what} --dry-run"
            raise


def _show(state: dict[str, object]) -> str:
    late, ports = state.pop("late"), state.pop("ports")
    assert isinstance(late, list)  # noqa: S101 - tells the type checker
    assert isinstance(ports, list)  # noqa: S101 - tells the type checker
    lines = [f"{name:<20} {value}" for name, value in state.items()]
    lines += [
        f"{p['listen']:<20} {p['open']} open, {p['waiting']} waiting"
        f"{', nobody listens: ' + p['why'] if p['why'] else ''}"
        for p in ports
    ]
    lines += [f"{'late':<20} {w['address']} for {w['name']}: {w['count']}" for w in late]
    return "\n".join(lines)
