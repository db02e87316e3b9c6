"""Carries the frames between a port and a TAP device that stands in for it on the bridge, late or never.

A process of its own, for kernels without netem: python relay.py PORT TAP DELAY_MS LOSS_PERCENT, inside the
hub's namespace. It prints its process id and closes its output once frames that arrive will be carried.
"""

import contextlib
import fcntl
import heapq
import itertools
import os
import random
import select
import socket
import struct
import sys
import time

FRAME_BYTES_MAX = 70_000
FRAMES_PER_TURN_MAX = 64
QUEUE_FRAMES_MAX = 50_000
TUNSETIFF = 0x400454CA
TAP_NO_INFO_VNET_HEADER = 0x0002 | 0x1000 | 0x4000
SOL_PACKET, PACKET_VNET_HDR = 263, 15
ETH_P_ALL = 3


def open_tap(name: str) -> int:
    """Make the TAP device; it goes when the descriptor is closed."""
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH14x", name.encode(), TAP_NO_INFO_VNET_HEADER))
    return tap


def open_port(name: str) -> socket.socket:
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    # Both ends carry virtio headers, so that partial checksums and segmentation offload survive.
    raw.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    raw.setblocking(False)
    raw.bind((name, ETH_P_ALL))
    return raw


def carry(tap: int, raw: socket.socket, delay_s: float, loss: float) -> None:
    """Carry frames both ways for ever; `loss` is the share of frames that never arrive."""
    late: list[tuple[float, int, bool, bytes]] = []
    order = itertools.count()

    def receive(descriptor: int | socket.socket) -> None:
        for _ in range(FRAMES_PER_TURN_MAX):
            if isinstance(descriptor, socket.socket):
                frame, source = descriptor.recvfrom(FRAME_BYTES_MAX)
                if source[2] == socket.PACKET_OUTGOING:
                    continue
            else:
                frame = os.read(descriptor, FRAME_BYTES_MAX)
            if random.random() >= loss and len(late) < QUEUE_FRAMES_MAX:
                heapq.heappush(late, (time.monotonic() + delay_s, next(order), descriptor is raw, frame))

    ends: list[int | socket.socket] = [tap, raw]
    while True:
        wait_s = max(0.0, late[0][0] - time.monotonic()) if late else None
        for ready in select.select(ends, [], [], wait_s)[0]:
            with contextlib.suppress(BlockingIOError):
                receive(ready)
        while late and late[0][0] <= time.monotonic():
            _, _, to_tap, frame = heapq.heappop(late)
            with contextlib.suppress(OSError):  # a link that is down loses frames
                if to_tap:
                    os.write(tap, frame)
                else:
                    raw.send(frame)


def main(port: str, tap_name: str, delay_ms: str, loss_percent: str) -> None:
    tap, raw = open_tap(tap_name), open_port(port)
    os.write(1, f"{os.getpid()}\n".encode())
    os.close(1)  # sys.stdout.close() leaves the descriptor open
    carry(tap, raw, float(delay_ms) / 1000, float(loss_percent) / 100)


if __name__ == "__main__":
    main(*sys.argv[1:])
