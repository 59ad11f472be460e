"""The only place that joins manifest, recipe, drivers and journal.

What only a run needs is imported where it is used, so that ``status`` answers at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from crossfade import asking
from crossfade.drivers import driver
from crossfade.drivers.backups import LocalBackups, fetched
from crossfade.engine import history
from crossfade.engine.journal import SqliteJournal
from crossfade.engine.lease import lease
from crossfade.engine.work import AttemptWork, Silent
from crossfade.errors import UsageError
from crossfade.fronting import front_of, introduce
from crossfade.jobs import HandedOver, between
from crossfade.machines import Machines
from crossfade.manifest import Manifest, SideSpec, load
from crossfade.model import Finding, Installation, Run, Side
from crossfade.ports import Front, Host, Install, Jobs, KeptBackup, Limits, Names, Teller, Traffic
from crossfade.provisioning import Provisioning
from crossfade.recipes import fill
from crossfade.serving import Joined, held_installation, process_spec

if TYPE_CHECKING:
    from crossfade.needs import Need
    from crossfade.surroundings import Surroundings

__all__ = ["Joined", "WiredSite", "open_site"]


@dataclass
class WiredSite:
    """``upgrade.Site`` for one manifest.  Opening it makes the state directory and the journal."""

    manifest: Manifest
    journal: SqliteJournal
    teller: Teller = field(default_factory=Silent)
    max_pause: float | None = None
    copy_rate: float | None = None

    def __post_init__(self) -> None:
        self.provisioning = Provisioning(self.manifest, self.journal, self._label, self.teller)
        self.manifest = self.provisioning.manifest()

    @property
    def upgrade(self) -> str:
        """The id of this upgrade."""
        return self.journal.upgrade

    @cached_property
    def machines(self) -> Machines:
        """The machines of both sides, and what is on them."""
        return Machines(self.manifest, self._label, self.copy_rate)

    @property
    def _label(self) -> str:
        """What everything bears that we make at container engines."""
        place = sha256(str(self.manifest.state).encode()).hexdigest()[:10]
        return f"{self.upgrade}.{place}"

    @cached_property
    def traffic(self) -> Traffic:
        """The gate."""
        spec = self.manifest.traffic
        kind = driver("traffic", spec.driver)
        options = {**spec.options, "tls": spec.tls} if spec.tls else spec.options
        made: Traffic = kind(spec.listen, self.manifest.state / "gate", **options)
        return made

    @property
    def front(self) -> Front | None:
        """The web server before the gate, if the manifest names one."""
        return front_of(self.manifest, self.journal, self.machines.here, self.traffic)

    @cached_property
    def names(self) -> Names | None:
        """The names in the DNS, if the site has some."""
        if self.manifest.traffic.dns is None:
            return None
        from crossfade.naming import naming_of

        return naming_of(self.manifest, self.journal, self.traffic, self.teller)

    def introduce(self) -> None:
        """Tell a gate that runs which address is which side's in this upgrade.  Raises
        Refused(gate-serves-elsewhere) where that would take users from the address they are at."""
        introduce(self.manifest, self.traffic)

    @cached_property
    def backups(self) -> LocalBackups:
        """Where cutovers' backups are kept, on this machine or another."""
        spec = self.manifest.backup
        given = (
            spec.place,
            self.upgrade,
            sha256(str(self.manifest.state).encode()).hexdigest()[:10],
            self._settled,
            spec.keep,
            spec.keep_days,
            spec.wanted,
        )
        if spec.host.driver == "local":
            return LocalBackups(*given)
        from crossfade.drivers.backups_far import FarBackups

        machines = self.machines
        return FarBackups(
            *given,
            far=machines.reached(spec.host),
            here=machines.here,
            staged=self.manifest.state / "backup-on-its-way",
            tree=machines.any_tree,
        )

    def fetch_backup(self, name: str, to: Path) -> tuple[KeptBackup, list[Finding]]:
        """Copy the backup of a name ("newest" for that one) to a directory of this machine that is
        not there yet, or empty, and read the copy back.  Raises UsageError, Failed."""
        kept = self.backups.listed()
        found = [one for one in kept if name in ("newest", one.path.name)]
        if not found:
            what = f"No backup of this site is called {name}."
            raise UsageError("backup-unknown", what, where="--fetch", next="crossfade backups")
        if to.exists() and not (to.is_dir() and not any(to.iterdir())):
            what = f"{to} is there already, and is no empty directory."
            next = "crossfade backups --fetch NAME --to ANOTHER"
            raise UsageError("backup-target-taken", what, where="--to", next=next)
        here, machines = self.machines.here, self.machines
        source = machines.any_tree("backup", found[0].path, self.backups.host or here)
        return found[0], fetched(found[0], source, machines.any_tree("backup", to, here))

    def _settled(self, upgrade: str, attempt: str) -> bool:
        """Whether nobody goes back to where an upgrade's attempt began any more: its old side is
        retired, or it went back before its commit."""
        journal = SqliteJournal(self.journal.path, upgrade)
        try:
            if history.last(journal, Run.RETIRE, "done"):
                return True
            found = [run for run in history.runs(journal) if run.label == attempt]
            return bool(found) and found[0].outcome not in ("running", "done")
        finally:
            journal.close()

    @property
    def unmade(self) -> bool:
        """Whether the new side's machine is still to be made."""
        return self.manifest.new.host.unmade

    def making(self) -> str:
        """What making it would do, in words."""
        return self.provisioning.making()

    def make_machine(self) -> None:
        """Make it, unless it is there.  Raises Failed, UsageError(nothing-to-provision)."""
        self.provisioning.make()
        self._look_again()
        self.introduce()

    def remove_machine(self) -> None:
        """Remove the new side's machine, if there is one.  Raises Failed."""
        self.provisioning.remove(Side.NEW)
        self._look_again()

    def _look_again(self) -> None:
        self.manifest = self.provisioning.manifest()
        self.__dict__.pop("machines", None)

    def provisioned(self) -> list[dict[str, str]]:
        """The machines that upgrades have made for the sides: side, name, address, state."""
        return self.provisioning.account()

    def machines_leavings(self) -> list[str]:
        """What a killed run left on machines and no run needs.  Changes nothing."""
        halves = [f"unfinished backup {path}" for path in self.backups.leavings()]
        return [*self.machines.leavings(), *halves]

    def clean_machines(self) -> None:
        """Remove that.  Only while the lease is held."""
        self.machines.clean_up()
        self.backups.discard()

    def lease(self, what: str) -> AbstractContextManager[None]:
        """The right to run.  Raises LeaseHeld."""
        return lease(self.journal, what)

    def begin(self, run: Run, *, unmuted: bool = False) -> AttemptWork:
        """Work for a new attempt."""
        return self._work(run, history.next_label(self.journal, run), unmuted=unmuted)

    def again(self, label: str) -> AttemptWork:
        """Work for an attempt that was begun before."""
        return self._work(Run(label.rpartition("-")[0]), label, unmuted=False)

    def _work(self, run: Run, label: str, *, unmuted: bool) -> AttemptWork:
        from crossfade.configuration import CarriedConfiguration, judge_of
        from crossfade.drivers.hosts.deadman import LocalDeadMan

        manifest, recipe = self.manifest, self.manifest.recipe
        new = manifest.rehearsal if run is Run.REHEARSAL else manifest.new
        old = self.side(manifest.old, Side.OLD)
        around = self._around(old, new)
        self.machines.taken, self.machines.brought = around.taken(), around.brought()
        self.machines.muted = {} if unmuted else recipe.muted_variables
        there = self.side(new, Side.NEW, serves=run is Run.ROLLBACK)
        both = {Side.OLD: old, Side.NEW: there}
        directory = manifest.state / "upgrades" / self.upgrade / label
        sides = {side: (joined.host, joined.installation) for side, joined in both.items()}
        specs = {Side.OLD: manifest.old, Side.NEW: new}

        def environment(there: Installation) -> dict[str, str]:
            return self.machines.resolved_environment(specs[there.side], there)

        if new.host.driver == "docker":  # its container is made with what is asked for
            sides[Side.NEW] = self.machines.bare(new), there.installation
        judge = judge_of(recipe, old.installation, sides, manifest.state)
        configuration = CarriedConfiguration(
            recipe,
            old.installation,
            old.host,
            self._also(new),
            judge,
            manifest.new.installation(recipe.application, Side.NEW),
            lambda _: around.settings(there.service),
        )
        return AttemptWork(
            run=run,
            label=label,
            unmuted=unmuted,
            here=self.machines.here,
            old=old,
            new=there,
            traffic=self.traffic,
            names=self.names,
            configuration=configuration,
            dead_man=LocalDeadMan(directory / "dead-man"),
            backups=self.backups,
            limits=self.limits(),
            directory=directory,
            journal=self.journal,
            find_carriers=lambda: {
                name: database.carrier(there.databases[name], directory, self._tag(run))
                for name, database in old.databases.items()
            },
            front=self.front,
            canaries=asking.canaries(recipe, old, there, environment),
            checkers=asking.checkers(recipe, there, configuration, environment),
            answers=asking.answers(manifest.traffic, self.traffic, old, there),
            teller=self.teller,
        )

    def _around(self, old: Joined, new: SideSpec) -> Surroundings:
        """How the old program is run, for a new side; of this nothing is muted, so that a rehearsal
        asks what its cutover will."""
        from crossfade.surroundings import Surroundings

        manifest, machines, spec = self.manifest, self.machines, self.manifest.old
        machines.taken = machines.muted = {}
        given, ours = (machines.environment(one, machines.at(one)) for one in (spec, new))
        defaults, keep = manifest.recipe.service.defaults, manifest.state / "configuration"
        return Surroundings((spec, new), old.service, old.host, (given, ours), defaults, keep)

    def _also(self, spec: SideSpec) -> Callable[[Installation], Mapping[str, bytes]]:
        """What is written with the configuration of a side on another machine."""
        if spec.host.driver == "local":
            return lambda there: {}
        return self.machines.passfiles

    def _tag(self, run: Run) -> str:
        """What is made on servers bears this name: one for rehearsals, one for all else."""
        whole = sha256(f"{self.manifest.state}\0{self.upgrade}".encode()).hexdigest()[:10]
        return f"crossfade_{whole}" + ("_try" if run is Run.REHEARSAL else "")

    def limits(self) -> Limits:
        """What the operator accepts, from manifest, recipe and command line."""
        given, service = self.manifest.limits, self.manifest.recipe.service
        return Limits(
            max_pause=self.max_pause or given.max_pause,
            watch=given.watch,
            lease=given.lease,
            start=service.start_timeout,
            stop=service.stop_timeout,
            reads=self.manifest.traffic.reads_in_pause,
            heed=given.heed,
        )

    def side(self, spec: SideSpec, side: Side, *, serves: bool = False) -> Joined:
        """Everything of one side, joined.  Reads no file but secrets.

        ``serves``: it was migrated and started before, so it is started again without more ado."""
        manifest, recipe = self.manifest, self.manifest.recipe
        there = spec.installation(recipe.application, side)
        environment = self.machines.environment(spec, there)
        host = self.machines.host_of(spec, there)
        self.machines.write_passfiles(there, host)
        variables = there.variables()
        packages = tuple(fill(package, variables) for package in recipe.install.packages)
        service_spec = process_spec(
            manifest,
            spec,
            there,
            mark=self._mark(spec),
            environment=environment,
            max_pause=self.limits().max_pause,
        )
        if serves:
            service_spec = service_spec.plain()
        if spec.service.driver != "process":
            service_spec = replace(service_spec, doors={})  # only a process waits at doors
        asked = [recipe.version] if recipe.version else []
        asked += recipe.checks
        tls = manifest.traffic.tls
        tls = tls if tls and side in tls.sides else None
        checks = [asking.check(one, there, host, tls) for one in asked]
        # a command of the site's own is a program beside its manifest, so it runs here
        beside = host if host.name == "local" else self.machines.here
        checks += [asking.check(one, there, beside, tls) for one in manifest.checks]
        return Joined(
            installation=there,
            held=held_installation(there, service_spec.doors),
            host=host,
            install=self._install(spec, host, packages),
            service=self.machines.service(spec, service_spec, host),
            installed_version=asking.installed_version(recipe.installed_version, there, host),
            health=asking.check(recipe.health, there, host, tls),
            checks=checks,
            jobs=self._jobs(spec, side, host),
            find_databases=lambda: {
                part.name: self.machines.database(part, there, host) for part in recipe.databases
            },
            find_files=lambda: {
                part.name: self.machines.tree(part, there, host) for part in recipe.files
            },
            machine=self.provisioning.machine_of(side),
        )

    def _install(self, spec: SideSpec, host: Host, packages: tuple[str, ...]) -> Install:
        """How the program gets there: as the recipe says, or in a container its image."""
        recipe = self.manifest.recipe
        if spec.host.driver == "docker":
            from crossfade.drivers.installs.image import ImageInstall, StandingImage

            if spec == self.manifest.old:
                return StandingImage(spec.host.destination, socket=spec.host.socket)
            return ImageInstall(host, spec.root, (spec.host.image,), socket=spec.host.socket)
        made: Install = driver("installs", recipe.install.driver)(
            host, spec.root, packages, **recipe.install.options
        )
        return made

    def needs(self, work: AttemptWork) -> tuple[Need, ...]:
        """What a run needs of its machines, and whether it is there.  Changes nothing."""
        from crossfade.needs import needs_of

        return needs_of(self.manifest, work, self.machines.straight_port)

    def _jobs(self, spec: SideSpec, side: Side, host: Host) -> Jobs:
        """Of a container the jobs are those in its image, which the new image has as well."""
        manifest = self.manifest
        if manifest.old.host.driver == "docker" or spec not in (manifest.old, manifest.new):
            return HandedOver(side, host, None)
        machines = self.machines
        jobs = between(manifest, self.upgrade, machines.host_of, machines.here)
        return HandedOver(side, host, jobs)

    def world(self, work: AttemptWork) -> Mapping[str, str]:
        """The facts that must not change between rehearsal and cutover.  Raises Failed when a
        machine cannot be reached, or lacks what is needed there."""
        from crossfade.world import world

        return world(self.manifest, work)

    def _mark(self, spec: SideSpec) -> str:
        """One mark for one installation, which keeps it as the old side of the next upgrade."""
        places = (self.manifest.state, spec.root, spec.config, spec.data, spec.address)
        return sha256("\0".join(map(str, places)).encode()).hexdigest()[:16]


def open_site(
    manifest: Path,
    *,
    teller: Teller | None = None,
    max_pause: float | None = None,
    copy_rate: float | None = None,
) -> WiredSite:
    """The site of a manifest file.  max_pause (seconds) and copy_rate (bytes a second) win over
    the manifest's.  Raises UsageError or JournalError."""
    loaded = load(manifest)
    name = f"{loaded.recipe.application}-{loaded.old.version}-to-{loaded.new.version}"
    upgrade = "".join(c if c.isalnum() or c in "-._" else "_" for c in name)
    journal = SqliteJournal(loaded.state / "journal.db", upgrade)
    return WiredSite(loaded, journal, teller or Silent(), max_pause, copy_rate)
