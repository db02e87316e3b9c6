"""How hamgr reaches its nodes: `ports.NodeExecutor` over SSH. The only room that imports asyncssh.

From the wire to the verbs:

- `settings`: every bound and time-out, in one frozen value;
- `wire`: TCP under a connection: quick acknowledgements, a bounded greeting, silence noticed;
- `pacing`: how many handshakes at once, and how gently one sshd is dialled;
- `connections`: the pool, one kept connection per node, pinned host keys;
- `sessions`: one command on a connection, its input, its bounded output, its end;
- `errors`: what asyncssh and the system say -> the port's errors, one clear sentence each;
- `install`: puts the runner on a node, once per version;
- `executor`: the port's verbs, with the retry that makes a lost connection harmless;
- `sandbox`: practice nodes, many in one process, for the demo and for tests.
"""
