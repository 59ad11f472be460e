"""What the steps need, as protocols.  Drivers implement them; only ``wiring`` joins the two.

Abilities are data (traits), asked when planning, never discovered by a failing call.  Commands are
argv tuples, never shell strings.  Every method that changes something may be called again after a
crash: it looks first.  Methods raise ``crossfade.errors.Failed`` with *what* and *where*.
"""

from crossfade.ports._dns import DnsAnswer, DnsRecord, Names, Zone, ZoneTraits
from crossfade.ports._drivers import (
    PACE,
    Carrier,
    Check,
    Configuration,
    Database,
    DeadMan,
    Doing,
    Files,
    Held,
    Traffic,
    not_taken,
)
from crossfade.ports._fronts import Front, FrontMemory, FrontPlan
from crossfade.ports._machines import (
    Host,
    Install,
    Jobs,
    Machine,
    Provisioner,
    ReachedBySsh,
    Service,
)
from crossfade.ports._measured import BOUNDS, Measured
from crossfade.ports._relay import PortState, RelayedPort
from crossfade.ports._running import RunSetting
from crossfade.ports._values import (
    Carrying,
    Completed,
    CopyReport,
    DatabaseTraits,
    Heed,
    Judgement,
    Kept,
    KeptBackup,
    Late,
    Limits,
    MadeMachine,
    Muted,
    Progress,
    Rendering,
    ServiceState,
    TrafficState,
    TrafficTraits,
    WayBack,
)
from crossfade.ports._work import Backups, Committing, Journal, Parts, Step, Teller, Work

__all__ = [
    "BOUNDS",
    "PACE",
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
    "DnsAnswer",
    "DnsRecord",
    "Doing",
    "Files",
    "Front",
    "FrontMemory",
    "FrontPlan",
    "Heed",
    "Held",
    "Host",
    "Install",
    "Jobs",
    "Journal",
    "Judgement",
    "Kept",
    "KeptBackup",
    "Late",
    "Limits",
    "Machine",
    "MadeMachine",
    "Measured",
    "Muted",
    "Names",
    "Parts",
    "PortState",
    "Progress",
    "Provisioner",
    "ReachedBySsh",
    "RelayedPort",
    "Rendering",
    "RunSetting",
    "Service",
    "ServiceState",
    "Step",
    "Teller",
    "Traffic",
    "TrafficState",
    "TrafficTraits",
    "WayBack",
    "Work",
    "Zone",
    "ZoneTraits",
    "not_taken",
]
