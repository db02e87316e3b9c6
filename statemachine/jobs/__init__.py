"""Rules for work: what may be asked for, approved and steered, how attempts end, and what is owed now."""
