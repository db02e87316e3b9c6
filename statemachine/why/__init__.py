"""Why: the recorded state told in plain words, for a job or for a node. Reads all, changes nothing."""
