"""The node's side of a job: one POSIX sh script, how to call it, and how to read its answers.

- `node/*.sh` are the parts of the script, joined in the order of their names; the head of the first one
  states the guarantees, the tools that a node needs, and the files that the script keeps.
- `script` joins them, names the version, and builds the argument words and the command lines of every verb.
- `answers` reads what came back: bytes and an exit status in, a value of `backends.ports` or one of its
  errors out.

Nothing here connects to anything: `backends.ssh` carries the words and the bytes.
"""
