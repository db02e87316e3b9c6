"""What must survive a power cut: the log with term and vote, the snapshot, and who they belong to.

`folder` is the data folder and says whether it can be trusted; `journal` the log, `records` its bytes,
`recovery` what is believed of them after a crash; `compaction` keeps the log short; `storage` is the file
system. Nothing here knows of a network.
"""
