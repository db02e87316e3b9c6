"""Whole clusters of real consensus cores in one thread under one printed seed, and all that goes wrong.

The library, the protocol, the journal, the snapshots and the state machine are the product's own. `schedule`
is the clock; `network` carries messages as TCP would; `disk` forgets what was not synced and fails; `hosts`
are computers on which a replica runs, crashes, freezes and loses power, and `machine` is what a replica
applies to. `clients` write and read, `operators` change who belongs to the cluster, `storm` is what happens
to all of it. `laws` and `evidence` are what must hold at every step, `trail` remembers the last of them for
people, `figures` counts what was really exercised, and `world` puts it together.

`python -m tests.consensus --seeds 5000` runs as many as you like.
"""
