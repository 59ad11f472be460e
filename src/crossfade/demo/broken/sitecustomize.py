"""Makes an application that cannot read its own data: it answers with 500.

It is on the new version's PYTHONPATH in ``crossfade demo --break check``.  In a rehearsal all is
well, as with a fault that shows only at the real address: the cutover is what has to notice.
"""

import importlib.abc
import importlib.util
import os
import sys

WHY = "broken on purpose, by crossfade demo --break check"


def rehearsed():
    """Whether this is the rehearsal's copy, whose data is in a directory of that name."""
    places = [*sys.argv, os.environ.get("MLFLOW_ARTIFACTS_DESTINATION", "")]
    return any("/rehearsal/" in place for place in places)


def break_synapse(module):
    works = module.RoomEventServlet.on_GET

    async def on_GET(servlet, request, *args, **kwargs):
        if not rehearsed():
            raise RuntimeError(WHY)
        return await works(servlet, request, *args, **kwargs)

    module.RoomEventServlet.on_GET = on_GET


def break_mlflow(module):
    works = module.SqlAlchemyStore.get_run

    def get_run(store, *args, **kwargs):
        if not rehearsed():
            raise RuntimeError(WHY)
        return works(store, *args, **kwargs)

    module.SqlAlchemyStore.get_run = get_run


TARGETS = {
    "synapse.rest.client.room": break_synapse,
    "mlflow.store.tracking.sqlalchemy_store": break_mlflow,
}


class Breaking(importlib.abc.MetaPathFinder):
    """Breaks one class of one module right after its import."""

    def find_spec(self, name, path=None, target=None):
        if name not in TARGETS:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        sys.meta_path.insert(0, self)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            TARGETS.pop(name)(module)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Breaking())
