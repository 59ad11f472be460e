"""An application whose queue of connections is full, on the other side of a wire."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.gateway.scratch import GateProcess, until
from tests.testbed.network import outside, own_network

from crossfade.model import Address

QUEUE, REQUESTS, BODY = 50, 200, 3000
_SLOW = f"""
import socket, threading, time
listener = socket.socket()
listener.bind(("10.77.0.2", 9000))
listener.listen({QUEUE})
print("listens", flush=True)
input()  # until its queue is full
def serve(connection):
    data = b""
    while len(data.partition(b"\\r\\n\\r\\n")[2]) < {BODY}:
        data += connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
    connection.close()
while True:
    time.sleep(1)
    for _ in range({QUEUE} - 5):
        listener.settimeout(0.01)
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            break
        connection.settimeout(30)
        threading.Thread(target=serve, args=(connection,)).start()
"""


def test_no_upload_is_lost(tmp_path: Path) -> None:
    """Bodies of several segments, more at once than its kernel can remember: all are answered."""
    with own_network(), outside() as there:
        wire = "tc qdisc replace dev w1 root tbf burst 1600 latency 10s rate"
        counted = ("nstat", "-asz", "TcpExtTCPReqQFullDoCookies")
        # Its answers come slowly, so that more handshakes are under way than its queue holds.
        there.run(*f"{wire} 10kbit".split())
        slow = subprocess.Popen(
            there.command((sys.executable, "-c", _SLOW)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            assert slow.stdin
            assert slow.stdout
            slow.stdout.readline()
            address = Address("10.77.0.2", 9000)
            gate = GateProcess(tmp_path, address, address)
            try:
                request = b"POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                request += b"Content-Length: %d\r\n\r\n" % BODY + bytes(BODY)
                with ThreadPoolExecutor(REQUESTS) as pool:
                    answers = pool.map(gate.talk, [request] * REQUESTS)
                    until(lambda: int(there.run(*counted).split()[-2]) > 0, "the queue is full")
                    there.run(*f"{wire} 400kbit".split())
                    slow.stdin.write(b"\n")
                    slow.stdin.flush()
                failed = [one for one in answers if not one.startswith(b"HTTP/1.1 200 ")]
            finally:
                gate.close()
        finally:
            slow.kill()
            slow.communicate()
    assert failed == []
