"""Keeps the wished number of voters while replicas die and come back, without an operator.

`rules` decides, and is pure; `record` remembers how replicas behaved; `losses` says which are survived.
`driver` looks, probes and acts while this replica leads, or may lead on; `settings` is the configuration's
section. What may be done to the electorate is checked again, at the last moment, by
`hamgr.raft.core.shrinking`.
"""
