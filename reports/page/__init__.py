"""The report page: its content, its sections and its assets."""
