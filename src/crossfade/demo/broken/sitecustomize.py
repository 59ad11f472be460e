"""Makes a Synapse that cannot read its own messages: they are answered with 500.

It is on the new version's PYTHONPATH in ``crossfade demo --break check``.  In a rehearsal all is
well, as with a fault that shows only at the real address: the cutover is what has to notice.
"""

import importlib.abc
import importlib.util
import sys

TARGET = "synapse.rest.client.room"


class Breaking(importlib.abc.MetaPathFinder):
    """Breaks one class of one module right after its import."""

    def find_spec(self, name, path=None, target=None):
        if name != TARGET:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            works = module.RoomEventServlet.on_GET

            async def on_GET(servlet, request, *args, **kwargs):
                if not any("/rehearsal/" in word for word in sys.argv):
                    raise RuntimeError("broken on purpose, by crossfade demo --break check")
                return await works(servlet, request, *args, **kwargs)

            module.RoomEventServlet.on_GET = on_GET

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Breaking())
