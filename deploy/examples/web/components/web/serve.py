"""Serves one page over HTTP: serve.py ADDRESS PORT FILE.

Only what `python3 -I -S` has at hand, so that it starts in a few milliseconds. The file is read for every
request, so that a new page needs no restart.
"""

import socket
import sys
from pathlib import Path

address, port, page = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(64)
    while True:
        client, _ = listener.accept()
        with client:
            client.settimeout(2)
            try:
                request = b""
                while b"\r\n\r\n" not in request and len(request) < 8192:
                    part = client.recv(4096)
                    if not part:
                        break
                    request += part
                status, body = "200 OK", page.read_bytes()
            except OSError:
                status, body = "503 Service Unavailable", b"The page cannot be read.\n"
            head = f"HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\n"
            head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            try:
                client.sendall(head.encode() + body)
            except OSError:
                continue  # the client has gone; the next one is waiting
