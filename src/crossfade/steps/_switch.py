"""The commit point and what follows it: switch, release, read back."""

from crossfade.errors import Failed
from crossfade.model import Finding
from crossfade.ports import Parts, Work
from crossfade.steps._health import wait_healthy
from crossfade.steps._pause import GATE_LATER

__all__ = ["change_at_boot", "hand_jobs", "switch_to", "take_token"]


def take_token(work: Work) -> None:
    """The commit point.  Raises Failed when the pause is already over."""
    work.traffic.renew(work.limits.lease + GATE_LATER)  # the hold must outlast the next lines
    if not work.dead_man.commit():
        raise Failed(
            "pause-lost",
            "The lease of the pause ran out before the commit point.",
            where=f"dead-man's switch: {work.dead_man.state()}",
        )


def change_at_boot(to: Parts, away: Parts) -> None:
    """The side that serves is started when its machine boots, if either side was; the other one
    no longer.  Fine when it was done."""
    wanted = {away.service.at_boot(), to.service.at_boot()}
    to.service.set_at_boot(wanted != {False})  # None: a side that nothing could start at boot
    away.service.set_at_boot(False)


def hand_jobs(to: Parts, away: Parts) -> list[Finding]:
    """The jobs of the side that was stopped are off, and only then those of the other one are
    switched on.  Raises Failed when the first cannot be shown.  Fine when it was done."""
    off = away.jobs.switch(False)
    if broken := [finding for finding in off if not finding.holds]:
        raise Failed("job-does-not-stop", f"{broken[0].claim}: {broken[0].observed}.")
    return [*off, *to.jobs.switch(True)]


def switch_to(work: Work, to: Parts, away: Parts) -> list[Finding]:
    """Switch and release, whatever the gate did by itself meanwhile; prove it by reading back."""
    side = to.installation.side
    traffic = work.traffic
    for parts in (to, away):  # there is only forward, however long a link is cut
        parts.host.give_up_at(None)
    if not to.service.look().running:  # it was checked before the commit, but a machine may go down
        to.service.start()
        wait_healthy(work, to, work.limits.start)
    traffic.ensure({p.installation.side: p.installation.address for p in (to, away)})
    state = traffic.look()
    if state and state.side is not side:
        if not state.held:
            # The gate gave up holding before we came back.  The other side is stopped: nothing
            # leaks there, and requests that wait for it are taken along by this hold.
            lease = work.limits.lease
            token = work.dead_man.commit_token
            traffic.hold(lease=lease, at_most=lease, commit_to=side, commit_token=token)
            traffic.drain(lease / 2)
        traffic.switch(side)
    if (state := traffic.look()) and state.held:
        traffic.release()
    seen = traffic.look()
    if seen is None:
        raise Failed("gate-unreachable", "The gate does not answer after the switch.")
    return [
        Finding.equal("traffic goes to", side, seen.side, "gate, read back"),
        Finding.equal("at this address", to.installation.address, seen.targets[side], "gate"),
        Finding.equal("requests are held", False, seen.held, "gate, read back"),
        Finding.equal(
            "requests served by the other side after the drain", 0, seen.served_after_drain, "gate"
        ),
    ]
