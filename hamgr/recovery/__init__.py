"""A cluster that lost its majority for good: what its survivors know, and how one of them begins again.

1. `survivor` is what one survivor knows, as a file that can be carried to another; `reading` reads it off a
   stopped replica's data folder, and changes nothing.
2. `comparison` says whose log is to be used, what is committed for sure, and what may be lost. Pure.
3. `alive` finds out which members still answer: while a majority does, nothing may be recovered.
4. `succession` makes the new cluster beside the old one, and `switching` puts it in the old one's place.
5. `case` is all of it as seen from one machine, and `telling` what an operator reads of it.
"""
