"""Consensus: how a command becomes part of the replicated state.

`port` is what the rest of hamgr may know; `memory` keeps a cluster inside one process (shipped: tests,
simulation); `stock` stands on pysyncobj, which nothing else imports.
"""
