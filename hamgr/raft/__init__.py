"""Consensus: how a command becomes part of the replicated state.

`port` is what the rest of hamgr may know. Two rooms keep it: `memory` is a cluster inside one process
(shipped: development, tests, simulation), `replica` is one of a cluster over mutual TLS.

From the outside in: `replica` lives on the caller's event loop and waits (`proposals`, `waiting`, `members`).
`engine` is a thread with a loop of its own, and `consensus` what happens on it: it drives the core, applies
what is committed (`applier`), compares states (`divergence`, `agreement`), knows the others (`roster`), and
says how it is (`gauges`, `figures`, `stalls`). `core/` is consensus without sockets, threads or clocks:
pysyncobj, held to our rules; `protocol/` has those that the library lacks. `store/` is what must survive a
power cut, `wire/` the links between replicas.
"""
