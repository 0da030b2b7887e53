"""Request logs of every vendor, read into the disjoint usage buckets."""
