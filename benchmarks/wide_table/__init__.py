"""The second edition of the connectivity table: all fusions, twenty tokens a parameter, two sizes, two texts."""
