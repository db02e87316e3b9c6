"""`hamgr demo`: the main job on one machine, with a leader that dies in the middle.

`layout` puts a cluster on paper, `processes` runs it, `fleet` asks its API, `story` tells what happens act by
act, `evidence` reads what the nodes themselves have recorded, `screen` shows it, and `command` is the door.
Every number that is shown was measured in the run that shows it.
"""
