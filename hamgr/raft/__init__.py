"""Consensus: how a command becomes part of the replicated state.

`port` is what the rest of hamgr may know. Two rooms keep it: `memory` is a cluster inside one process
(shipped: development, tests, simulation), `stock` stands on pysyncobj, which nothing else imports.

`stock` lives on the event loop and waits (`proposals`, `waiting`); `driver` is the thread that ticks and
applies; `core` is the library behind a typed class; `disk`, `journal` and `compaction` are what it stores.
"""
