"""What the steps need, as protocols.  Drivers implement them; only ``wiring`` joins the two.

Abilities are data (traits), asked when planning, never discovered by a failing call.  Commands are
argv tuples, never shell strings.  Every method that changes something may be called again after a
crash: it looks first.  Methods raise ``crossfade.errors.Failed`` with *what* and *where*.
"""

from crossfade.ports._drivers import (
    Carrier,
    Check,
    Configuration,
    Database,
    DeadMan,
    Doing,
    Files,
    Held,
    Traffic,
)
from crossfade.ports._machines import Host, Install, Jobs, Machine, Provisioner, Service
from crossfade.ports._values import (
    Carrying,
    Completed,
    CopyReport,
    DatabaseTraits,
    Kept,
    KeptBackup,
    Limits,
    MadeMachine,
    Progress,
    Rendering,
    ServiceState,
    TrafficState,
    TrafficTraits,
    WayBack,
)
from crossfade.ports._work import Backups, Committing, Journal, Parts, Step, Teller, Work

__all__ = [
    "Backups",
    "Carrier",
    "Carrying",
    "Check",
    "Committing",
    "Completed",
    "Configuration",
    "CopyReport",
    "Database",
    "DatabaseTraits",
    "DeadMan",
    "Doing",
    "Files",
    "Held",
    "Host",
    "Install",
    "Jobs",
    "Journal",
    "Kept",
    "KeptBackup",
    "Limits",
    "Machine",
    "MadeMachine",
    "Parts",
    "Progress",
    "Provisioner",
    "Rendering",
    "Service",
    "ServiceState",
    "Step",
    "Teller",
    "Traffic",
    "TrafficState",
    "TrafficTraits",
    "WayBack",
    "Work",
]
