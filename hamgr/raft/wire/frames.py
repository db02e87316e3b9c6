"""Messages as bytes: a length of four bytes, big-endian, and so many bytes of msgpack.

1. A length is checked before a byte behind it is waited for: nobody makes us hold more than one frame of the
   size that he may send.
2. Whatever the bytes are, the decoder answers with plain values (no extensions, no dates) or `FrameError`,
   and nothing else. What the values mean is for others to check.
3. What a frame unpacks to is bounded too: `ENTRIES_MAX` items in an array, so that a header of five bytes
   cannot claim more memory than that, and 1,024 levels of nesting, which is msgpack's own limit.
"""

from typing import Any

import msgpack

from hamgr.raft.protocol.messages import ENTRIES_MAX, ENTRY_BYTES_MAX

FRAME_BYTES_MAX = ENTRY_BYTES_MAX + (1 << 20)
"""The largest entry, a batch of smaller ones before it, and what surrounds them."""
LENGTH_BYTES = 4
TEXT_BYTES_MAX = 4_096
FIELDS_MAX = 64


class FrameError(ValueError):
    """The bytes are no frames of ours; the connection is of no use any more."""


def encode(message: Any) -> bytes:
    """Return the frame for a message of plain values.

    Raises:
        FrameError: It is too large for any peer to take it.
    """
    body = msgpack.packb(message, use_bin_type=True)
    if len(body) > FRAME_BYTES_MAX:
        raise FrameError(f"a message of {len(body)} bytes is larger than {FRAME_BYTES_MAX}")
    return len(body).to_bytes(LENGTH_BYTES, "big") + bytes(body)


class Decoder:
    """Finds the frames in a stream that comes in arbitrary parts.

    Attributes:
        frame_bytes_max: The largest frame that is taken from now on.
    """

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self.frame_bytes_max = frame_bytes_max
        self._held = bytearray()

    @property
    def held_bytes(self) -> int:
        """How much waits for its rest."""
        return len(self._held)

    def feed(self, data: bytes) -> list[Any]:
        """Return the messages that are whole now, in order.

        Raises:
            FrameError: The stream is broken for good.
        """
        held = self._held
        if not held:
            found, used = self._take(data)
            held += data[used:]
        else:
            held += data
            found, used = self._take(held)
            del held[:used]
        return found

    def _take(self, stream: bytes | bytearray) -> tuple[list[Any], int]:
        found: list[Any] = []
        offset = 0
        with memoryview(stream) as view:
            while len(view) - offset >= LENGTH_BYTES:
                start = offset + LENGTH_BYTES
                length = int.from_bytes(view[offset:start], "big")
                if not 0 < length <= self.frame_bytes_max:
                    raise FrameError(f"a frame claims {length} bytes; {self.frame_bytes_max} are the most")
                if len(view) - start < length:
                    break
                offset = start + length
                found.append(_unpack(view[start:offset]))
        return found, offset


def _unpack(body: memoryview) -> Any:
    try:
        return msgpack.unpackb(
            body,
            raw=False,
            strict_map_key=True,
            ext_hook=_refuse_extension,
            max_str_len=TEXT_BYTES_MAX,
            max_bin_len=len(body),
            max_array_len=ENTRIES_MAX,
            max_map_len=FIELDS_MAX,
            max_ext_len=0,
        )
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise FrameError(f"a frame holds no message: {type(error).__name__}") from error


def _refuse_extension(_code: int, _data: bytes) -> Any:
    raise ValueError("an extension type")
