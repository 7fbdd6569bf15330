"""One file per table or experiment; each states source, command, cost and target."""
