"""What follows from the records: fronts, seeds, verdicts, selections. No drawing."""
