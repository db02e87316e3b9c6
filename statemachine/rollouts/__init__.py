"""Rules for walking many machines: waves, what holds a job, what blocks a task, and what is owed afterwards."""
