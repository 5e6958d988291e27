"""Ray Tune: the loop, and what Ray asks and tells."""
