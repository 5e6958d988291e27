"""Depthweave beside what a user would write with Ray Tune and Optuna: one space, trainer, machine and number of trials.

`problem`: what is searched, and what a method hands in. `scripts`: the users' scripts. `methods`: the table of all of
them, and how each is run. `truth`: every architecture of the space trained to its end. `judge`: the figures of a
method's run by that truth, and their table. `__main__`: the command.
"""
