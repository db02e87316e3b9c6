"""Doing what the state says is owed: one worker per task, one per probe.

`proposer` makes commands and repeats them until their outcome is known. `worker` takes one task through
claim, fence and attempts; `attempt` is one launch of one step, and `glance` one check of a job that only
verifies. `discovery` probes one address. `scripts` turns a planned step into the script that the node runs;
`logs` reads what attempts printed. `adhoc` runs a command outside of any job.
"""
