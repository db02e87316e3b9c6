"""Raft's rules as we keep them, without sockets, files or threads: messages and a clock in, messages out."""
