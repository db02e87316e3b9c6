"""Practice nodes: one process that is many nodes, each a folder with its own SSH server on loopback.

- `nodes`: what a node's folder holds, and who it says it is;
- `sessions`: one command as a real process;
- `server`: `sandbox(...)`, the SSH servers of all nodes, and what can befall a node;
- `processes`: ends what a node's services and steps left running;
- `systemctl.sh`: a small service manager, put into each node's `bin`;
- `python -m backends.ssh.sandbox --help`: the same as a program.

Everything else is as on a real node: the same runner, the same files under the node's root, real processes.
"""
