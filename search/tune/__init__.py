"""The Ray Tune loop, with the searcher, scheduler and callbacks that connect it to the trial ledger."""
