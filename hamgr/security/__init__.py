"""Who may speak to the cluster: its certificate authority, and what a certificate says."""
