"""Many messages at once: those that are made alike are read column by column, with no object for each."""
