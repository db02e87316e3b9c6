"""Rules for machines: who is known, what is set aside, what roles require, who takes whose place."""
