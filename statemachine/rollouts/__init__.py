"""Rules for walking many machines: waves, what holds a job or blocks a task, and what is owed afterwards."""
