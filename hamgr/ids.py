"""Ids for requests: unlikely ever to meet, and no secret."""

import os
import random
from collections.abc import Callable


def id_maker() -> Callable[[], str]:
    """Return a function that makes ids of 128 random bits, as hexadecimal digits.

    They come from a generator of this process that the system has seeded: `uuid4` asks the kernel for each,
    and hands the interpreter to another thread meanwhile, which a busy API feels.
    """
    draw = random.Random(os.urandom(32)).getrandbits  # noqa: S311 - ids are told to everybody
    return lambda: f"{draw(128):032x}"
