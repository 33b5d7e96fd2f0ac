"""The tests. Their layout mirrors the product's; docs/testing.md tells what stands where."""
