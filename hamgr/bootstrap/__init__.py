"""How a machine becomes a replica: the first one (`founding`), and every further one (`joining`).

1. Nothing of a cluster is in force before `hamgrd.yaml` has its name, which it gets last. What an attempt
   that was killed has left before that is swept away, or gone on with, by the next one.
2. Folders that are in use are refused before anything is written.
3. Private keys are made where they are used; what is secret has mode 0600 from its first byte.

`places` knows where files go, `unit` is the systemd unit, `service` starts it, `calls` speaks to the cluster.
"""
