"""Pictures in and rasters out: open, check, read, scale, write, verify, publish."""
