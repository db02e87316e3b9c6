"""Who is there: probes of all nodes from all replicas, and what the leader concludes from them.

1. Nothing is written for a probe. Only a verdict that changes a node's presence goes to the log.
2. All judgement is in `judge`, which has no clock and no sockets; `watcher` drives it on the leader.
3. A new leader begins with no memory: its verdicts rest on probes that it has asked for itself.
"""
