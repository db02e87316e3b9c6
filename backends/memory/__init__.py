"""A shipped fake behind `ports.NodeExecutor`: nodes that live in memory and obey as the real runner does.

- `node`: what one node knows and how it answers; no clock of its own, no waiting;
- `executor`: the port over such nodes; waits only through the event loop, so it keeps virtual time;
- `faults`: what can go wrong on the way, decided by a hook, so that a seed decides it.

Scripts are not interpreted: a node's `behaviour` says how long an attempt takes, how it ends, what it says.
"""
