"""One file for each noun; imported only when its command runs."""
