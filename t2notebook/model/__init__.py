"""The vocabulary of t2notebook: jobs, resources, states, events and the reducer. Pure: no I/O, standard
library only.
"""
