"""Backups of a cluster: one encrypted file holds all that an empty machine needs to begin again.

From the bytes to the command:

- `sealed`: an encrypted file that is whole and unchanged, or refused; the header can be read without the key;
- `content`: what is in it: the state, the keys for the nodes, the tokens, the bundles;
- `files`: backups in a directory: written durably, listed, verified, thrown away in time;
- `restoring`: a new cluster of one replica from a backup;
- `service`: the backups that a replica makes by itself.
"""
