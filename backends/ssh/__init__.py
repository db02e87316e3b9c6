"""How hamgr reaches its nodes: `ports.NodeExecutor` over SSH. The only room that imports asyncssh.

From the wire to the verbs:

- `settings`: every bound and time-out, in one frozen value;
- `keys`: hamgr's own keys, and the keys of nodes;
- `wire`: TCP under a connection: quick acknowledgements, a bounded greeting, silence noticed;
- `pacing`: how many handshakes at once, and how gently one sshd is dialled;
- `dial`: one connection, from TCP to the end of the login, with the node's key pinned;
- `connections`: the pool, one kept connection per node;
- `sessions`: one command on a connection, its input, its bounded output, its end;
- `kept`: one session that is kept on a connection, for one call after the other;
- `calls`: one call of the runner, over as many connections as that takes; uploads it where it is missing;
- `follow`: an attempt's output as it is written, likewise;
- `executor`: `SSHExecutor`, the port's verbs;
- `threaded`: the same, on a thread of its own, made with its first use;
- `errors`: what asyncssh and the system say -> the port's errors, one clear sentence each;
- `sandbox`: practice nodes, many in one process, for the demo and for tests.
"""
