"""Consensus: how a command becomes part of the replicated state.

`port` is what the rest of hamgr may know. Two rooms keep it: `memory` is a cluster inside one process
(shipped: development, tests, simulation), `stock` stands on pysyncobj, which nothing else imports.

`stock` lives on the event loop and waits (`proposals`, `waiting`); `driver` is the thread that ticks and
applies; `core` is the library behind a typed class, and `overlap` a rule that it breaks.

What must survive a power cut: `disk` is the folder with the snapshot, `journal` the log with term and vote,
`records` its bytes, `recovery` what is believed of them after a crash, `storage` the file system. `outbox`
holds what the replica promises until it is synced; `compaction` keeps the log short, and `exchange` brings
a snapshot to a replica that missed what was cut.
"""
