"""Switching the other one of two voters off, by a command of the operator's, and testing that it works.

`port` says what a fence is, `runner` runs the command, `drill` tests it on a schedule and tells consensus
whether it may be counted on. What follows from a fencing is decided in `hamgr.raft.core.pair` and
`hamgr.raft.core.shrinking`, and begun by `hamgr.autopilot`.
"""
