"""What steps printed: masked, read from the nodes, kept on every replica, and found again.

`masking` hides secret values without moving a byte, and `concealed` says which values those are for a node.
`guarded` is the executor that everything above uses, so that no secret in an attempt's output gets past it.
`pieces` is what is kept of an output (all of it, or its head and its tail), `records` the bytes on the disk,
`store` the files, `scan` finds what is whole in them, and `shelf` is the store for who must not block.
`ledger` says what is owed, `keeper` is the loop that pays it, and `sources` is where it gets it from.
`asking` is what a reader asks for and gets; `hamgr.jobs.logs` answers it from wherever an output is.
"""
