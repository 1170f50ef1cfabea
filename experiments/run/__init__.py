"""What commands share: run folders, settings, processes."""
