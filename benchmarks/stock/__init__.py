"""Depthweave beside a user's scripts for Ray Tune and Optuna: the same space, trainer, machine and number of trials.

`problem`: the search problem, and what a method returns. `scripts`: the users' scripts. `methods`: all methods, and how
each is run. `truth`: every architecture of the space trained to its end. `judge`: the figures of a method's run
compared with that truth, and their table. `__main__`: the command.
"""
