"""Why workers fail, and what repeated failures mean."""
