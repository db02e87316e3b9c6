"""What must survive a power cut: the log with term and vote, the snapshot, and who they belong to.

`folder` is the data folder and says whether it can be trusted; `identity` whose it is. `journal` is the
log, `records` its bytes, `recovery` what is believed of them after a crash. `snapshot` are the bytes of a
state, `transfer` carries them to and from other replicas, `compaction` takes one now and then, and `fit` says
whether it belongs to the log. `check` examines it all while the replica is stopped; `storage` is the file
system. Nothing here knows of a network. The bytes are described in docs/storage.md.
"""
