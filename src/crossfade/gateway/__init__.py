"""The built-in gate: an HTTP/1.1 reverse proxy that can hold, drain, switch and release.

It runs as its own process (``python -m crossfade.gateway``), so that it outlives the tool.  Where
to start reading: ``pause`` is what the gate decides about, as data; ``gate`` lets requests through
or makes them wait; ``exchange`` is one request on its way; ``client`` and ``upstream`` are its two
connections; ``heads``, ``answers`` and ``bodies`` are the strict side of HTTP; ``keeper`` takes
the commands that come in by ``control``.
"""
