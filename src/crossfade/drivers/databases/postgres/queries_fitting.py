"""Questions about what may not fit on another server."""

from __future__ import annotations

from typing import Final, LiteralString

__all__ = ["ATTRIBUTES", "LEFT_BEHIND", "OTHER_ROLES", "PRELOADED", "SETTINGS", "SYSTEM"]

SYSTEM: Final[LiteralString] = "select system_identifier from pg_control_system()"

PRELOADED: Final[LiteralString] = "select current_setting('shared_preload_libraries')"

ATTRIBUTES: Final[LiteralString] = """
select rolname, array[rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin,
    rolreplication, rolbypassrls] from pg_roles
"""

OTHER_ROLES: Final[LiteralString] = """
select rolname from pg_roles
where rolname !~ '^pg_' and rolname !~ '^crossfade_[0-9a-f]{10}' and oid <> 10
    and rolname <> current_user and rolname <> all(%s)
order by 1
"""

SETTINGS: Final[LiteralString] = """
select coalesce(r.rolname, ''), s.setconfig from pg_db_role_setting s
join pg_database d on d.oid = s.setdatabase left join pg_roles r on r.oid = s.setrole
where d.datname = current_database() order by 1
"""

LEFT_BEHIND: Final[LiteralString] = """
select format('tablespace %I: what is in it stands in the new server''s usual place', spcname)
from pg_tablespace s
where exists (select from pg_class c where c.reltablespace = s.oid and c.oid >= 16384)
    or exists (select from pg_database d where d.dattablespace = s.oid
        and d.datname = current_database() and spcname <> 'pg_default')
union all
select format('replication slot %I, whose reader has to be set up anew', slot_name)
from pg_replication_slots
where database = current_database() and slot_name !~ '^crossfade_' and not temporary
union all
select format('%s security labels of provider %I', count(*), provider)
from pg_seclabel group by provider
order by 1
"""
