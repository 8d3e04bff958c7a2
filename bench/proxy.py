"""A long line to a server: `proxy.py UPSTREAM-PORT PORT ROUND-TRIP-SECONDS BYTES-PER-SECOND`.

What comes in at one end leaves at the other half a round trip later, and towards the client never faster than the
rate, for each connection by itself. A connection opens after one round trip, as in TCP.
"""

import queue
import socket
import sys
import threading
import time

_CHUNK = 128 * 1024
_WINDOW = 64  # chunks under way: more than the line holds


def _read(source: socket.socket, line: "queue.Queue[tuple[float, bytes]]", delay: float) -> None:
    data = b"."
    while data:
        try:
            data = source.recv(_CHUNK)
        except OSError:
            data = b""
        line.put((time.monotonic() + delay, data))


def _write(sink: socket.socket, line: "queue.Queue[tuple[float, bytes]]", rate: float) -> None:
    free = 0.0  # when the line may take more
    while True:
        due, data = line.get()
        start = max(due, free)
        free = start + len(data) / rate
        pause = (free if data else due) - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        try:
            if not data:
                sink.shutdown(socket.SHUT_WR)
                return
            sink.sendall(data)
        except OSError:
            return


def _serve(client: socket.socket, upstream: int, trip: float, rate: float) -> None:
    time.sleep(trip)
    server = socket.create_connection(("127.0.0.1", upstream))
    for sock in (client, server):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    threads = []
    for source, sink, bytes_per_second in ((client, server, float("inf")), (server, client, rate)):
        line: queue.Queue[tuple[float, bytes]] = queue.Queue(_WINDOW)
        threads.append(threading.Thread(target=_read, args=(source, line, trip / 2), daemon=True))
        threads.append(threading.Thread(target=_write, args=(sink, line, bytes_per_second), daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client.close()
    server.close()


def main() -> None:
    """Serve until the process is ended."""
    upstream, port, trip, rate = sys.argv[1:]
    with socket.create_server(("127.0.0.1", int(port)), backlog=64) as listener:
        while True:
            client, _ = listener.accept()
            work = (client, int(upstream), float(trip), float(rate))
            threading.Thread(target=_serve, args=work, daemon=True).start()


if __name__ == "__main__":
    main()
