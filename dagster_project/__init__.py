"""When things run: the Dagster definitions of Rollcall and the commands that start them."""
